import { MetaBackend } from "@revnet-zero/backend-meta";
import { type Backend, type BytesByCategory, Engine } from "@revnet-zero/tensor";
import { buildModel, buildOptimizer, runKey } from "./build.ts";
import type { ModelConfig, TrainConfig } from "./config.ts";
import { applyGradients, computeGradients } from "./step.ts";

export interface StepEstimate {
  readonly reversibility: ModelConfig["reversibility"];
  /** Numbers trained. */
  readonly parameters: number;
  /** Highest sum of live bytes in a training step after the first. */
  readonly peakBytes: number;
  /** What that peak consists of. */
  readonly atPeak: BytesByCategory;
  /** Peak less parameters, gradients and optimizer state at that instant. */
  readonly activationBytes: number;
  readonly parameterBytes: number;
  readonly gradientBytes: number;
  readonly optimizerBytes: number;
}

/**
 * The memory of a training step before anything is run: the very step of the trainer on a backend that computes
 * nothing, counted by the same ledger. On the backend named by `like` the run's own peak is the same number.
 */
export function estimateStep(config: TrainConfig, like: Backend): StepEstimate {
  const engine = new Engine(MetaBackend.like(like) as Backend);
  const { batchSize, sequenceLength, microBatches, seed } = config.train;
  const model = buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  const size = batchSize * sequenceLength;
  const batch = { inputs: new Int32Array(size), targets: new Int32Array(size), batchSize, sequenceLength };
  const batches = Array.from({ length: microBatches }, () => batch);
  const parameterBytes = engine.memory().live.parameters;
  let gradientBytes = 0;
  // The first step makes the optimizer's state; the second is like all that follow.
  for (let step = 0; step < 2; step++) {
    engine.ledger.resetPeak();
    engine.scope(() => {
      const { factor } = computeGradients(model, batches, {
        key: runKey(seed, "steps"),
        step,
        clipNorm: config.optimizer.clipNorm,
        precision: config.train.precision,
      });
      gradientBytes = engine.memory().live.gradients;
      applyGradients(optimizer, config.optimizer.learningRate, factor);
    });
  }
  const { peakBytes, atPeak, activationBytes, live } = engine.memory();
  return {
    reversibility: config.model.reversibility,
    parameters: model.parameterCount(),
    peakBytes,
    atPeak,
    activationBytes,
    parameterBytes,
    gradientBytes,
    optimizerBytes: live.optimizer,
  };
}

/** The same configuration with activations kept another way. */
export function estimateModes(
  config: TrainConfig,
  like: Backend,
  modes: readonly ModelConfig["reversibility"][] = ["store", "checkpoint", "float", "exact"],
): StepEstimate[] {
  return modes.map((reversibility) => estimateStep({ ...config, model: { ...config.model, reversibility } }, like));
}
