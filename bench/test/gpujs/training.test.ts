import { CpuBackend } from "@revnet-zero/backend-cpu";
import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { tiny, train } from "./training.ts";

test("a reversible language model trains on gpu.js as on the CPU backend, in memory that stays the same", async () => {
  const backend = await createGpuJsBackend({ mode: "cpu" });
  const used: number[] = [];
  const engine = new Engine(backend);
  const onStep = (): void => {
    used.push(backend.memory().usedBytes);
    expect(used.at(-1)).toBe(engine.memory().liveBytes);
  };
  const there = await train(engine, 4, { onStep });
  const here = await train(new Engine(new CpuBackend()), 4);
  expect(Math.abs(there.lastLoss / here.lastLoss - 1)).toBeLessThan(1e-4);
  expect(new Set(used).size).toBe(1);
  expect(engine.memory().liveBytes).toBe(0);
});

test.each(["webasm", "cpu"] as const)("recorded steps have the bits of steps in gpu.js mode %s", async (mode) => {
  const engine = new Engine(await createGpuJsBackend({ mode }));
  const [plain, recorded] = [
    await train(engine, 4, { size: tiny }),
    await train(engine, 4, { size: tiny, isRecorded: true }),
  ];
  expect(recorded.whyNotRecorded).toBeUndefined();
  expect(recorded.losses).toEqual(plain.losses);
  expect(engine.memory().liveBytes).toBe(0);
});
