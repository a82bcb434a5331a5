import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const launcher = join(root, "packages/tooling/bin/node24.mjs");
const gallery = readdirSync(join(root, "examples"))
  .filter((name) => /^\d+.*\.ts$/.test(name))
  .sort();

test("the gallery is numbered 01, 02, ... without a gap", () => {
  expect(gallery.map((name) => Number.parseInt(name, 10))).toEqual(gallery.map((_, index) => index + 1));
});

for (const name of gallery) {
  test(`example ${name} holds`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, `examples/${name}`, "--assert"], {
      cwd: root,
      encoding: "utf8",
    });
    expect(status, `${stdout}\n${stderr}`).toBe(0);
  });
}
