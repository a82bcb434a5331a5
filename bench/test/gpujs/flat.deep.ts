import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { tiny, train } from "./training.ts";

test("1000 training steps need the memory of the tenth, and no kernel more", async () => {
  const backend = await createGpuJsBackend({ mode: "webasm" });
  const seen: { bytes: number; kernels: number }[] = [];
  const onStep = (): void => {
    const { usedBytes, kernels } = backend.memory();
    seen.push({ bytes: usedBytes, kernels });
  };
  await train(new Engine(backend), 1000, { size: tiny, onStep });
  expect(new Set(seen.slice(10).map((s) => `${s.bytes} ${s.kernels}`)).size).toBe(1);
});
