import { MetaBackend } from "@revnet-zero/backend-meta";
import { type ByteBatch, ByteDataset, loadText } from "@revnet-zero/data";
import { ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { updateInBackward } from "@revnet-zero/reversible";
import { type Backend, type BytesByCategory, Engine, foldKey, type Tensor } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildOptimizer,
  computeGradients,
  type ModelConfig,
  recordedPassOf,
  recordedStepOf,
  runKey,
  type TrainConfig,
  toTensors,
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

/** `tune` times the kernels that may serve what the steps so far asked for; processes that start afterwards use the best. */
export type TraineeRequest = TraineeBuild | StepRequest | { readonly report: true } | { readonly tune: true };

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
  /** Of steps that are meant to be graphs: why the last was none. */
  readonly whyNoGraph?: string;
}

/** Of the kernels that serve what a model asks for, those that were not the first choice. */
export interface TuneAnswer {
  readonly problems: number;
  readonly changed: number;
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

/** A model in training. */
interface TrainedModel {
  readonly parameters: number;
  /** Gives the loss, or NaN where it is left on the device. */
  step(n: number, batch: ByteBatch, isRead: boolean): number;
  /** Of steps that are meant to be graphs: why the last was none. */
  whyNoGraph?(): string | undefined;
}

/** Builds the model on an engine. Its steps are the trainer's: the time between kernels counts. */
function makeTrainee(request: TraineeBuild, engine: Engine): TrainedModel {
  const { build: config, isOrdinary = false, updatesInBackward = false } = request;
  const { seed, precision, graph = false } = config.train;
  const { learningRate } = config.optimizer;
  const options = { ...config.model, key: runKey(seed, "parameters"), engine };
  const model = isOrdinary ? new Transformer(options) : new ReversibleTransformer(options);
  const optimizer = buildOptimizer(model, config.optimizer);
  const clipNorm = updatesInBackward ? 0 : config.optimizer.clipNorm;
  const key = runKey(seed, "steps");
  const parameters = model.parameterCount();
  const read = (loss: Tensor, isRead: boolean): number => (isRead ? loss.itemSync() : Number.NaN);
  if (graph) {
    const whole = recordedStepOf(model, optimizer, {
      ...{ clipNorm, precision, graph, learningRate: () => learningRate },
    });
    return {
      parameters,
      step: (n, batch, isRead) =>
        engine.scope(() => {
          const { loss } = engine.withKey(foldKey(key, n), () => whole(...toTensors(batch, engine)));
          return read(loss, isRead);
        }),
      whyNoGraph: () => whole.reason ?? whole.recordings.at(-1)?.whyNoGraph,
    };
  }
  if (updatesInBackward && model instanceof ReversibleTransformer)
    updateInBackward(model.sequence, optimizer, { learningRate: () => learningRate, clipNorm });
  const pass = updatesInBackward ? {} : { pass: recordedPassOf(model, 1, { precision }) };
  return {
    parameters,
    step: (n, batch, isRead) =>
      engine.scope(() => {
        const { loss, factor } = computeGradients(model, [batch], { key, step: n, clipNorm, precision, ...pass });
        applyGradients(optimizer, learningRate, factor);
        return read(loss, isRead);
      }),
  };
}

/** The first step makes the optimizer's state, the second is recorded, the fourth is a graph where that is asked for; later ones need no more. */
function predictPeak(request: TraineeBuild, batch: ByteBatch, like: Backend): number {
  const engine = new Engine(MetaBackend.like(like) as Backend);
  const { step } = makeTrainee(request, engine);
  engine.ledger.resetPeak();
  for (let n = 0; n < (request.build.train.graph === true ? 4 : 2); n++) step(n, batch, false);
  return engine.memory().peakBytes;
}

class Trainee {
  readonly #request: TraineeBuild;
  readonly #opened: OpenedBackend;
  readonly #engine: Engine;
  readonly #batches: Batches;
  readonly #model: TrainedModel;
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
    const whyNoGraph = this.#model.whyNoGraph?.();
    return {
      ...{ peakBytes, activationBytes, atPeak, residentBytes: maximumResidentBytes() },
      ...(driver === undefined ? {} : { driverBytes: driver() - this.#driverBytes }),
      predictedPeakBytes: predictPeak(this.#request, this.#batches(0), this.#opened.backend),
      ...(whyNoGraph === undefined ? {} : { whyNoGraph }),
    };
  }

  tune(): TuneAnswer {
    if (this.#opened.tune === undefined) throw new Error(`${this.#request.backend} has one kernel for each problem`);
    return this.#opened.tune();
  }
}

let trainee: Trainee | undefined;
await answerRequests(async (request: TraineeRequest) => {
  if ("build" in request) {
    trainee = new Trainee(request, await batchesOf(request.build));
    return trainee.built;
  }
  if (trainee === undefined) throw new Error("build first");
  if ("step" in request) return trainee.step(request);
  return "tune" in request ? trainee.tune() : trainee.report();
});
