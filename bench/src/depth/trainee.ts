import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type ByteBatch, ByteDataset, loadText } from "@revnet-zero/data";
import { type BytesByCategory, Engine } from "@revnet-zero/tensor";
import { applyGradients, buildModel, buildOptimizer, computeGradients, runKey } from "@revnet-zero/train";
import { collectGarbage, maximumResidentBytes } from "../memory.ts";
import { answerRequests } from "../subject.ts";
import { type DepthRequest, depthConfig } from "./configuration.ts";

// One model in one process: told to build, then to make steps one by one, then to say what memory it took.

export type TraineeRequest = { readonly build: DepthRequest } | { readonly step: number } | { readonly report: true };

export interface MemoryAnswer {
  readonly peakBytes: number;
  readonly activationBytes: number;
  readonly atPeak: BytesByCategory;
  readonly residentBytes: number;
}

interface Trainee {
  step(step: number): { readonly timeMs: number };
  report(): MemoryAnswer;
}

async function build(request: DepthRequest): Promise<Trainee> {
  const config = depthConfig(request);
  const { seed, batchSize, sequenceLength } = config.train;
  const engine = new Engine(new CpuBackend());
  const model = buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  const { bytes } = await loadText(config.data.source);
  const data = new ByteDataset(bytes, { batchSize, sequenceLength, seed });
  const train = (step: number, batch: ByteBatch): void =>
    engine.scope(() => {
      const key = runKey(seed, "steps");
      const { loss, factor } = computeGradients(model, [batch], { key, step, clipNorm: config.optimizer.clipNorm });
      applyGradients(optimizer, config.optimizer.learningRate, factor);
      loss.dataSync();
    });
  return {
    step: (step) => {
      const batch = data.batchAt(step);
      collectGarbage();
      engine.ledger.resetPeak();
      const start = performance.now();
      train(step, batch);
      return { timeMs: performance.now() - start };
    },
    report: () => {
      const { peakBytes, activationBytes, atPeak } = engine.memory();
      return { peakBytes, activationBytes, atPeak, residentBytes: maximumResidentBytes() };
    },
  };
}

let trainee: Trainee | undefined;
await answerRequests(async (request: TraineeRequest) => {
  if ("build" in request) {
    trainee = await build(request.build);
    return true;
  }
  if (trainee === undefined) throw new Error("build first");
  return "step" in request ? trainee.step(request.step) : trainee.report();
});
