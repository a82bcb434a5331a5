import {
  estimateProgram,
  type Fit,
  type ProgramEstimate,
  type SearchOptions,
  type StepProgram,
  type StepSizes,
  searchLargest,
} from "@revnet-zero/memory";
import type { ReversibleTransformer } from "@revnet-zero/models";
import { GradScaler } from "@revnet-zero/optim";
import type { MemoryPlan, OffloadStore } from "@revnet-zero/reversible";
import type { Backend, Engine } from "@revnet-zero/tensor";
import { type AnyOptimizer, buildModel, buildOptimizer, runKey } from "./build.ts";
import type { ModelConfig, TrainConfig } from "./config.ts";
import { computeGradients, type StepGradients } from "./step.ts";
import { recordedSteps, stepsByPass } from "./stepRunner.ts";

export interface StepEstimate extends ProgramEstimate {
  readonly reversibility: ModelConfig["reversibility"];
  /** Numbers trained. */
  readonly parameters: number;
}

/** A trainer's step by itself, on batches of zeros: to be estimated, profiled or planned. */
export interface BuiltStep {
  readonly model: ReversibleTransformer;
  readonly optimizer: AnyOptimizer;
  /** Forward and backward of all micro-batches; gradients stay. */
  readonly gradients: () => StepGradients;
  /** The whole step. */
  readonly step: () => void;
}

export interface EstimateStepOptions {
  /** What is done with each block, in modes that rebuild activations. Default: all are rebuilt. */
  readonly plan?: MemoryPlan | undefined;
  /** Where it puts what it offloads. Default: the host's memory. */
  readonly offload?: OffloadStore | undefined;
}

export interface BuildStepOptions extends EstimateStepOptions {
  /** Whether steps are recorded as the trainer's are, as graphs where the configuration says so. Default false. */
  readonly isRecorded?: boolean;
}

export function buildStep(config: TrainConfig, engine: Engine, options: BuildStepOptions = {}): BuiltStep {
  const { plan, offload, isRecorded = false } = options;
  const { batchSize, sequenceLength, microBatches, seed } = config.train;
  const size = batchSize * sequenceLength;
  const batch = { inputs: new Int32Array(size), targets: new Int32Array(size), batchSize, sequenceLength };
  const batches = Array.from({ length: microBatches }, () => batch);
  const key = runKey(seed, "steps");
  const { clipNorm, learningRate } = config.optimizer;
  const model = buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  model.sequence.plan = plan;
  if (offload !== undefined) model.sequence.offload = offload;
  const { precision } = config.train;
  const scale = precision === "f16" ? new GradScaler().scale : 1;
  const steps = (isRecorded ? recordedSteps : stepsByPass)({ model, optimizer, config, scale: () => scale });
  let count = 0;
  const gradients = (): StepGradients =>
    computeGradients(model, batches, { key, step: count++, clipNorm, precision, scale });
  const step = (): void => steps.run({ batches, key, step: count++, learningRate }).accept();
  return { model, optimizer, gradients, step };
}

/**
 * The memory of a training step before anything is run: the very step of the trainer, counted by the same ledger. On the backend `like`
 * the run's own peak is the same number.
 */
export function estimateStep(config: TrainConfig, like: Backend, options: EstimateStepOptions = {}): StepEstimate {
  let parameters = 0;
  const program: StepProgram = (engine) => {
    const { model, step } = buildStep(config, engine, { ...options, isRecorded: true });
    parameters = model.parameterCount();
    return step;
  };
  // The first step makes the optimizer's state, and the second is recorded; those that follow need no more than it does, except graphs: the
  // fourth step is taken down and launched.
  const estimate = estimateProgram(program, { like, steps: config.train.graph === true ? 4 : 2, countsFrom: 0 });
  return { reversibility: config.model.reversibility, parameters, ...estimate };
}

/** The configuration with another batch, sequence or depth; the model takes sequences that are longer than before. */
export function withSize({ model, train, ...rest }: TrainConfig, vary: keyof StepSizes, value: number): TrainConfig {
  const sizes: { readonly [K in keyof StepSizes]: TrainConfig } = {
    batch: { ...rest, model, train: { ...train, batchSize: value } },
    sequence: {
      ...rest,
      model: { ...model, maxSeqLen: Math.max(model.maxSeqLen, value) },
      train: { ...train, sequenceLength: value },
    },
    depth: { ...rest, model: { ...model, numLayers: value }, train },
  };
  return sizes[vary];
}

/** The largest batch, sequence or depth of a configuration whose step fits into the budget. */
export function largestStepThatFits(
  config: TrainConfig,
  like: Backend,
  { vary, ...search }: SearchOptions & { readonly vary: keyof StepSizes },
): Fit {
  return searchLargest((value) => estimateStep(withSize(config, vary, value), like).peakBytes, search);
}

/** The same configuration with activations kept another way. */
export function estimateModes(
  config: TrainConfig,
  like: Backend,
  modes: readonly ModelConfig["reversibility"][] = ["store", "checkpoint", "float", "exact"],
): StepEstimate[] {
  return modes.map((reversibility) => estimateStep({ ...config, model: { ...config.model, reversibility } }, like));
}
