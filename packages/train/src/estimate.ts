import { estimateProgram, type ProgramEstimate, type StepProgram } from "@revnet-zero/memory";
import type { ReversibleTransformer } from "@revnet-zero/models";
import type { MemoryPlan } from "@revnet-zero/reversible";
import type { Backend, Engine } from "@revnet-zero/tensor";
import { type AnyOptimizer, buildModel, buildOptimizer, runKey } from "./build.ts";
import type { ModelConfig, TrainConfig } from "./config.ts";
import { applyGradients, computeGradients } from "./step.ts";

export interface StepEstimate extends ProgramEstimate {
  readonly reversibility: ModelConfig["reversibility"];
  /** Numbers trained. */
  readonly parameters: number;
}

export interface BuiltStep {
  readonly model: ReversibleTransformer;
  readonly optimizer: AnyOptimizer;
  readonly step: () => void;
}

export interface EstimateStepOptions {
  /** What is done with each block, in modes that rebuild activations. Default: all are rebuilt. */
  readonly plan?: MemoryPlan | undefined;
}

/** The very step of the trainer on an engine, with batches of zeros: what is estimated, profiled or planned. */
export function buildStep(config: TrainConfig, engine: Engine, { plan }: EstimateStepOptions = {}): BuiltStep {
  const { batchSize, sequenceLength, microBatches, seed } = config.train;
  const size = batchSize * sequenceLength;
  const batch = { inputs: new Int32Array(size), targets: new Int32Array(size), batchSize, sequenceLength };
  const batches = Array.from({ length: microBatches }, () => batch);
  const key = runKey(seed, "steps");
  const { clipNorm, learningRate } = config.optimizer;
  const model = buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  model.sequence.plan = plan;
  let count = 0;
  const step = (): void => {
    const { factor } = computeGradients(model, batches, { key, step: count++, clipNorm });
    applyGradients(optimizer, learningRate, factor);
  };
  return { model, optimizer, step };
}

/** The memory of a training step before anything is run. On the backend `like` the run's own peak is the same number. */
export function estimateStep(config: TrainConfig, like: Backend, options: EstimateStepOptions = {}): StepEstimate {
  let parameters = 0;
  const program: StepProgram = (engine) => {
    const { model, step } = buildStep(config, engine, options);
    parameters = model.parameterCount();
    return step;
  };
  const estimate = estimateProgram(program, { like });
  return { reversibility: config.model.reversibility, parameters, ...estimate };
}

/** The same configuration with activations kept another way. */
export function estimateModes(
  config: TrainConfig,
  like: Backend,
  modes: readonly ModelConfig["reversibility"][] = ["store", "checkpoint", "float", "exact"],
): StepEstimate[] {
  return modes.map((reversibility) => estimateStep({ ...config, model: { ...config.model, reversibility } }, like));
}
