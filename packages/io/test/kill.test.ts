import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { CheckpointStore } from "../src/checkpointStore.ts";

const writer = fileURLToPath(new URL("./fixtures/checkpointWriter.fixture.ts", import.meta.url));
const launcher = fileURLToPath(new URL("../../tooling/bin/node24.mjs", import.meta.url));

test("a process killed at any moment while it saves leaves every checkpoint that it had reported", {
  timeout: 30_000,
}, async () => {
  // The writer is TypeScript, which the oldest Node we support does not run. SIGKILL must hit it and not the launcher, so the
  // launcher only says which Node it would start.
  const node = execFileSync(process.execPath, [launcher, "--print", "process.execPath"], { encoding: "utf8" }).trim();
  const folder = await mkdtemp(join(tmpdir(), "revnet-kill-"));
  const dir = join(folder, "checkpoints");
  const deadline = performance.now() + 7_000;
  let reported = 0;
  let kills = 0;
  let midway = 0;
  try {
    // A slow machine gets few kills, though never so few that they show nothing.
    for (; kills < 20 && (kills < 5 || midway === 0 || performance.now() < deadline); kills++) {
      const child = spawn(node, ["--conditions=@revnet-zero/source", writer, dir], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      let errors = "";
      child.stderr.on("data", (text) => {
        errors += text;
      });
      let output = "";
      child.stdout.on("data", (text) => {
        output += text;
      });
      const closed = once(child, "close");
      await Promise.race([once(child.stdout, "data"), closed]);
      expect(child.exitCode, errors).toBeNull();
      // Saving takes about 10 ms: the moments spread over several savings.
      await sleep((kills * 7.3) % 40);
      child.kill("SIGKILL");
      await closed;
      reported = Math.max(reported, ...output.split("\n").slice(0, -1).map(Number));

      if ((await readdir(dir)).some((name) => name.startsWith("."))) midway++;
      const store = await CheckpointStore.open(dir);
      expect((await readdir(dir)).filter((name) => name.startsWith("."))).toEqual([]);
      const { step, model, trainer } = await store.load("latest");
      expect(step).toBeGreaterThanOrEqual(reported);
      expect(trainer).toEqual({ step });
      const { data } = model.get("w")!;
      const values = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
      expect(values.every((value) => value === step)).toBe(true);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  // Otherwise the kills came between savings and showed nothing.
  expect(midway).toBeGreaterThan(0);
});
