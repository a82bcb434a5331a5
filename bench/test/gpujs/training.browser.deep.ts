import { CpuBackend } from "@revnet-zero/backend-cpu";
import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { countTextures } from "./textures.ts";
import { small, train } from "./training.ts";

const steps = 300;

test("300 steps of a reversible language model in webgl2 end at the loss of the CPU backend, within 2 %", async () => {
  const backend = await createGpuJsBackend({ mode: "webgl2" });
  const there = await train(new Engine(backend), steps);
  const here = await train(new Engine(new CpuBackend({ threads: 1 })), steps);
  const tokens = steps * small.batchSize * small.sequenceLength;
  const speed = (timeMs: number): string => `${Math.round((1000 * tokens) / timeMs)} tokens/s`;
  const { kernels, compileMs, launches } = backend.memory();
  console.log(
    `webgl2 in software: loss ${there.lastLoss.toFixed(4)}, ${speed(there.timeMs)}, ${kernels} kernels compiled in ${Math.round(compileMs)} ms, ` +
      `${Math.round(launches / steps)} launches a step; CPU backend: loss ${here.lastLoss.toFixed(4)}, ${speed(here.timeMs)}`,
  );
  expect(Math.abs(there.lastLoss / here.lastLoss - 1)).toBeLessThan(0.02);
  expect(there.lastLoss).toBeLessThan(there.firstLoss / 2);
});

test("1000 training steps in webgl2 need the textures of the tenth", async () => {
  const counted = await countTextures("webgl2", 1000);
  expect(new Set(counted.slice(10).map((c) => JSON.stringify(c))).size).toBe(1);
});
