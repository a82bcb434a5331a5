import { MetaBackend } from "@revnet-zero/backend-meta";
import { type ByteBatch, ByteDataset, loadText } from "@revnet-zero/data";
import { ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { updateInBackward } from "@revnet-zero/reversible";
import { type Backend, type BytesByCategory, Engine } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildOptimizer,
  computeGradients,
  type ModelConfig,
  recordedPassOf,
  runKey,
  type TrainConfig,
} from "@revnet-zero/train";
import { type OpenedBackend, openBackend, type TrainingBackend } from "./backends.ts";
import { collectGarbage, maximumResidentBytes } from "./memory.ts";
import { answerRequests } from "./subject.ts";

// One model in one process: told to build, then to make steps, then to say what memory it took.

/** A configuration whose model may have tokens that are no bytes; those are drawn, not read. */
export interface TraineeConfig extends TrainConfig {
  readonly model: ModelConfig & { readonly vocabSize?: number };
}

export interface TraineeBuild {
  readonly build: TraineeConfig;
  readonly backend?: TrainingBackend;
  /** One float stream. */
  readonly isOrdinary?: boolean;
  /** Blocks are updated as soon as their gradients are known. */
  readonly updatesInBackward?: boolean;
}

/** `count` steps from `step` on; only the last one's loss is read, so that the device works while the next ones are asked for. */
export interface StepRequest {
  readonly step: number;
  readonly count?: number;
  /** Another step ended just now, whose garbage this one finds, as in training; else it is collected before. */
  readonly goesOn?: boolean;
}

export type TraineeRequest = TraineeBuild | StepRequest | { readonly report: true };

export interface BuildAnswer {
  readonly parameters: number;
  readonly threads: number;
  readonly tier: string;
}

export interface StepAnswer {
  /** Of all the steps asked for. */
  readonly timeMs: number;
  readonly loss: number;
}

export interface MemoryAnswer {
  readonly peakBytes: number;
  readonly activationBytes: number;
  readonly atPeak: BytesByCategory;
  readonly residentBytes: number;
  /** What the device's driver says this process has taken since the device was opened. */
  readonly driverBytes?: number;
  /** The peak of the same steps on a backend that computes nothing. */
  readonly predictedPeakBytes: number;
}

type Batches = (step: number) => ByteBatch;

async function batchesOf({ model, train, data }: TraineeConfig): Promise<Batches> {
  const { batchSize, sequenceLength, seed } = train;
  const { vocabSize } = model;
  if (vocabSize === undefined) {
    const { bytes } = await loadText(data.source);
    const dataset = new ByteDataset(bytes, { batchSize, sequenceLength, seed });
    return (step) => dataset.batchAt(step);
  }
  const size = batchSize * sequenceLength;
  return (step) => {
    const all = Int32Array.from({ length: size + 1 }, (_, i) => ((i * 7919 + step * 104729) >>> 3) % vocabSize);
    return { inputs: all.subarray(0, size), targets: all.subarray(1), batchSize, sequenceLength };
  };
}

/** Builds the model on an engine; gives what makes a step, its loss still on the device. */
function makeTrainee(request: TraineeBuild, engine: Engine) {
  const { build: config, isOrdinary = false, updatesInBackward = false } = request;
  const { seed, precision } = config.train;
  const { learningRate } = config.optimizer;
  const options = { ...config.model, key: runKey(seed, "parameters"), engine };
  const model = isOrdinary ? new Transformer(options) : new ReversibleTransformer(options);
  const optimizer = buildOptimizer(model, config.optimizer);
  const clipNorm = updatesInBackward ? 0 : config.optimizer.clipNorm;
  if (updatesInBackward && model instanceof ReversibleTransformer)
    updateInBackward(model.sequence, optimizer, { learningRate: () => learningRate, clipNorm });
  // As the trainer does: the time between kernels counts.
  const pass = updatesInBackward ? {} : { pass: recordedPassOf(model, 1, { precision }) };
  const step = (n: number, batch: ByteBatch, isRead: boolean): number =>
    engine.scope(() => {
      const key = runKey(seed, "steps");
      const { loss, factor } = computeGradients(model, [batch], { key, step: n, clipNorm, precision, ...pass });
      applyGradients(optimizer, learningRate, factor);
      return isRead ? loss.itemSync() : Number.NaN;
    });
  return { parameters: model.parameterCount(), step };
}

/** The first step makes the optimizer's state, and the second is recorded; those that follow need no more. */
function predictPeak(request: TraineeBuild, batch: ByteBatch, like: Backend): number {
  const engine = new Engine(MetaBackend.like(like) as Backend);
  const { step } = makeTrainee(request, engine);
  engine.ledger.resetPeak();
  for (let n = 0; n < 2; n++) step(n, batch, false);
  return engine.memory().peakBytes;
}

class Trainee {
  readonly #request: TraineeBuild;
  readonly #opened: OpenedBackend;
  readonly #engine: Engine;
  readonly #batches: Batches;
  readonly #model: ReturnType<typeof makeTrainee>;
  readonly #driverBytes: number;
  /** Of the step that needed most: the one that makes the optimizer's state, or the one that is recorded. */
  #highest: ReturnType<Engine["memory"]> | undefined;

  constructor(request: TraineeBuild, batches: Batches) {
    this.#request = request;
    this.#batches = batches;
    this.#opened = openBackend(request.backend ?? "cpu");
    this.#driverBytes = this.#opened.driverBytes?.() ?? 0;
    this.#engine = new Engine(this.#opened.backend);
    this.#model = makeTrainee(request, this.#engine);
  }

  get built(): BuildAnswer {
    const { threads, tier } = this.#opened;
    return { parameters: this.#model.parameters, threads, tier };
  }

  step({ step, count = 1, goesOn = false }: StepRequest): StepAnswer {
    const batches = Array.from({ length: count }, (_, n) => this.#batches(step + n));
    if (!goesOn) collectGarbage();
    this.#engine.ledger.resetPeak();
    const start = performance.now();
    let loss = Number.NaN;
    batches.forEach((batch, n) => {
      loss = this.#model.step(step + n, batch, n === count - 1);
    });
    const timeMs = performance.now() - start;
    const memory = this.#engine.memory();
    if (this.#highest === undefined || memory.peakBytes >= this.#highest.peakBytes) this.#highest = memory;
    return { timeMs, loss };
  }

  report(): MemoryAnswer {
    const { peakBytes, activationBytes, atPeak } = this.#highest ?? this.#engine.memory();
    const driver = this.#opened.driverBytes;
    return {
      ...{ peakBytes, activationBytes, atPeak, residentBytes: maximumResidentBytes() },
      ...(driver === undefined ? {} : { driverBytes: driver() - this.#driverBytes }),
      predictedPeakBytes: predictPeak(this.#request, this.#batches(0), this.#opened.backend),
    };
  }
}

let trainee: Trainee | undefined;
await answerRequests(async (request: TraineeRequest) => {
  if ("build" in request) {
    trainee = new Trainee(request, await batchesOf(request.build));
    return trainee.built;
  }
  if (trainee === undefined) throw new Error("build first");
  return "step" in request ? trainee.step(request) : trainee.report();
});
