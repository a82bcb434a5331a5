import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type ByteBatch, ByteDataset, loadText } from "@revnet-zero/data";
import { Transformer } from "@revnet-zero/models";
import { type BytesByCategory, Engine } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  computeGradients,
  recordedPassOf,
  runKey,
  type TrainConfig,
} from "@revnet-zero/train";
import { collectGarbage, maximumResidentBytes } from "./memory.ts";
import { answerRequests } from "./subject.ts";

// One model in one process: told to build, then to make steps one by one, then to say what memory it took.

export type TraineeRequest =
  | { readonly build: TrainConfig; readonly isOrdinary?: boolean }
  /** `goesOn`: another step ended just now, whose garbage this one finds, as in training; else it is collected before. */
  | { readonly step: number; readonly goesOn?: boolean }
  | { readonly report: true };

export interface BuildAnswer {
  readonly parameters: number;
  readonly threads: number;
  readonly tier: string;
}

export interface MemoryAnswer {
  readonly peakBytes: number;
  readonly activationBytes: number;
  readonly atPeak: BytesByCategory;
  readonly residentBytes: number;
}

interface Trainee {
  readonly built: BuildAnswer;
  step(step: number, goesOn: boolean): { readonly timeMs: number; readonly loss: number };
  report(): MemoryAnswer;
}

async function build(config: TrainConfig, isOrdinary: boolean): Promise<Trainee> {
  const { seed, batchSize, sequenceLength } = config.train;
  const backend = new CpuBackend();
  const engine = new Engine(backend);
  const model = isOrdinary
    ? new Transformer({ ...config.model, key: runKey(seed, "parameters"), engine })
    : buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  const { bytes } = await loadText(config.data.source);
  const data = new ByteDataset(bytes, { batchSize, sequenceLength, seed });
  const pass = recordedPassOf(model, 1);
  // Of the step that needed most: the one that makes the optimizer's state, or the one that is recorded.
  let highest = engine.memory();
  const train = (step: number, batch: ByteBatch): number =>
    engine.scope(() => {
      const key = runKey(seed, "steps");
      const { clipNorm } = config.optimizer;
      const { loss, factor } = computeGradients(model, [batch], { key, step, clipNorm, pass });
      applyGradients(optimizer, config.optimizer.learningRate, factor);
      return loss.itemSync();
    });
  return {
    built: { parameters: model.parameterCount(), threads: backend.threads, tier: backend.tier },
    step: (step, goesOn) => {
      const batch = data.batchAt(step);
      if (!goesOn) collectGarbage();
      engine.ledger.resetPeak();
      const start = performance.now();
      const loss = train(step, batch);
      const timeMs = performance.now() - start;
      const memory = engine.memory();
      if (step === 0 || memory.peakBytes >= highest.peakBytes) highest = memory;
      return { timeMs, loss };
    },
    report: () => {
      const { peakBytes, activationBytes, atPeak } = highest;
      return { peakBytes, activationBytes, atPeak, residentBytes: maximumResidentBytes() };
    },
  };
}

let trainee: Trainee | undefined;
await answerRequests(async (request: TraineeRequest) => {
  if ("build" in request) {
    trainee = await build(request.build, request.isOrdinary ?? false);
    return trainee.built;
  }
  if (trainee === undefined) throw new Error("build first");
  return "step" in request ? trainee.step(request.step, request.goesOn ?? false) : trainee.report();
});
