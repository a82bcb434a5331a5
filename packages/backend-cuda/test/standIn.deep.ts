import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { buildAddon } from "../src/build.ts";
import { nativeFolder } from "../src/device/addon.ts";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();
beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});

const local = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** How attention on Hopper comes out with one place of its kernels changed: "right", "wrong", or the stand-in's words as it ended. */
function attendWith(file: string, text: string, by: string, order: string): string {
  const folder = mkdtempSync(join(tmpdir(), "revnet-wrong-"));
  folders.push(folder);
  mkdirSync(join(folder, "out"));
  cpSync(buildAddon(), join(folder, "out", "revnet_cuda.node"));
  cpSync(join(nativeFolder(), "kernels"), join(folder, "kernels"), { recursive: true });
  const path = join(folder, "kernels", `${file}.cu`);
  const before = readFileSync(path, "utf8");
  expect(before, `${file} has no such place any more`).toContain(text);
  writeFileSync(path, before.replace(text, by));
  const words = [local("../../tooling/bin/node24.mjs"), local("attendOnStandIn.ts"), folder];
  const env = { ...process.env, REVNET_STANDIN_ORDER: order };
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8", env });
  if (status !== 0) return /stand-in: (.*?)( \(block|\n)/.exec(stderr)?.[1] ?? stderr;
  const apart = JSON.parse(stdout) as (number | null)[];
  return apart.every((v) => v !== null && v < 2 ** -7) ? "right" : "wrong";
}

describe("the stand-in shows what Hopper would not do", { timeout: 120_000 }, () => {
  test("nothing is wrong with a change of nothing", () => {
    for (const order of ["", "reverse"]) expect(attendWith("hopper", "bf16", "bf16", order)).toBe("right");
  });
  test.each<[what: string, file: string, text: string, by: string, order: string, found: string]>([
    ["a stride of descriptors", "hopper", "(u64)(1024 >> 4) << 32", "(u64)(512 >> 4) << 32", "", "wrong"],
    ["a step along the terms", "hopper", "kk % 4 * 32), furtherIn(b", "kk % 4 * 16), furtherIn(b", "", "wrong"],
    ["sums that are read too early", "hopperKeys", "        productsWait<D == 64 ? 1 : 0>();\n", "", "", "wrong"],
    [
      "weights that are written under a product",
      "hopperForward",
      "        productsWait<0>();\n        settle(sums);\n",
      "        settle(sums);\n",
      "",
      "operands changed while a product was under way",
    ],
    [
      "no fence",
      "hopperKeys",
      "        productsFence();\n        weightsTimesRows(byKey",
      "        weightsTimesRows(byKey",
      "",
      "a product is asked for without a fence after the last wait",
    ],
    [
      "no wait for a copy",
      "hopperForward",
      "      barrierWait(&shared.full[of.at][1], of.parity);\n",
      "",
      "",
      "operands changed while a product was under way",
    ],
    [
      "a copy into what is in use",
      "hopperAttention",
      "        barrierWait(&shared.free[stage.at][which], stage.parity);\n",
      "",
      "reverse",
      "a kernel's threads wait for each other at different barriers",
    ],
    [
      "fewer bytes than are expected",
      "hopperAttention",
      "barrierExpect(&shared.ownFull[own.at], OWN_BYTES);",
      "barrierExpect(&shared.ownFull[own.at], 2 * OWN_BYTES);",
      "",
      "a kernel's threads wait for each other at different barriers",
    ],
    [
      "own rows that are never given free",
      "hopperKeys",
      "      leave(&shared.ownFree[own.at]);\n",
      "",
      "",
      "a kernel's threads wait for each other at different barriers",
    ],
  ])("%s", (_, file, text, by, order, found) => {
    expect(attendWith(file, text, by, order)).toBe(found);
  });
});
