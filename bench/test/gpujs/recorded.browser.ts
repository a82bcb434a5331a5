import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { tiny, train } from "./training.ts";

// Joined ops read up to eight operands, one more than WebGPU has buffers. A driver may fuse what was joined: close, not equal.
test.each(["webgl2", "webgpu"] as const)("recorded steps train like steps in gpu.js mode %s", async (mode) => {
  const engine = new Engine(await createGpuJsBackend({ mode }));
  const plain = await train(engine, 4, { size: tiny });
  const recorded = await train(engine, 4, { size: tiny, isRecorded: true });
  expect(recorded.whyNotRecorded).toBeUndefined();
  recorded.losses.forEach((loss, i) => {
    expect(Math.abs(loss / plain.losses[i]! - 1)).toBeLessThan(1e-4);
  });
});
