import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { estimateProgram, MemoryProfiler } from "@revnet-zero/memory";
import { HostOffload } from "@revnet-zero/reversible";
import { type Backend, Engine } from "@revnet-zero/tensor";
import { buildStep, defaultConfig, type TrainConfig } from "@revnet-zero/train";
import { expect, test } from "vitest";

// A backend with memory of its own: the CUDA backend, on the stand-in for its driver.
const reason = useStandIn();
const config: TrainConfig = {
  ...defaultConfig,
  model: { ...defaultConfig.model, numLayers: 3, dModel: 16, numHeads: 2, maxSeqLen: 16 },
  train: { ...defaultConfig.train, batchSize: 2, sequenceLength: 16 },
};
const plan = { blocks: ["offload", "swap", "reconstruct"] } as const;

test("on a device an estimate is the ledger's peak, and streams offloaded to the host leave every bit as it is", async (context) => {
  if (reason !== undefined) context.skip(reason);
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend() as Backend;
  const store = new HostOffload({ inFlightBytes: 0 });
  const run = (mode: "exact" | "store", blocks: typeof plan | undefined) => {
    const engine = new Engine(backend);
    const own = { ...config, model: { ...config.model, reversibility: mode } };
    const { model, step, gradients } = buildStep(own, engine, { plan: blocks, offload: store });
    engine.scope(step);
    const profile = new MemoryProfiler({ model }).profile(() => engine.scope(step));
    expect(profile.recording.reservedBytes).toBeGreaterThanOrEqual(profile.peakBytes);
    engine.scope(gradients);
    const found = model.parameters().map((p) => p.grad!.dataSync());
    const estimate = estimateProgram((on) => buildStep(own, on, { plan: blocks, offload: store }).step, {
      like: backend,
    });
    expect(estimate.peakBytes).toBe(profile.peakBytes);
    expect(estimate.atPeak).toEqual(profile.atPeak);
    return found;
  };
  expect(run("exact", plan)).toEqual(run("store", undefined));
  expect(store.heldBytes).toBe(0);
});
