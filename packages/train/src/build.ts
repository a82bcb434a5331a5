import { type LanguageModel, ReversibleTransformer } from "@revnet-zero/models";
import {
  Adafactor,
  AdamW,
  Lion,
  type Optimizer,
  type OptimizerOptions,
  type Schedule,
  SGD,
  schedules,
} from "@revnet-zero/optim";
import { type Engine, foldKey, randomKey } from "@revnet-zero/tensor";
import type { ModelConfig, OptimizerConfig, TrainConfig } from "./config.ts";

/** Places in the key derivation of a run: parameters, training steps, text samples. */
export const runKeys = { parameters: 0, steps: 1, samples: 2 } as const;

export const runKey = (seed: number, use: keyof typeof runKeys): ReturnType<typeof foldKey> =>
  foldKey(randomKey(seed), runKeys[use]);

/** The model a configuration describes, with the parameters its seed decides. */
export function buildModel(model: ModelConfig, seed: number, engine: Engine): ReversibleTransformer {
  return new ReversibleTransformer({ ...model, key: runKey(seed, "parameters"), engine });
}

export type AnyOptimizer = Optimizer<OptimizerOptions>;

/**
 * Matrices are decayed, vectors (norms, biases) are not: the usual split for transformers.
 * Source: Radford et al. 2018, section 4.1; as code, minGPT.
 */
export function buildOptimizer(model: LanguageModel, config: OptimizerConfig): AnyOptimizer {
  const { learningRate, betas, eps, weightDecay, momentum, nesterov } = config;
  const [beta1, beta2] = betas;
  const all = model.parameters();
  const groups = [
    { parameters: all.filter((p) => p.rank >= 2), weightDecay },
    { parameters: all.filter((p) => p.rank < 2), weightDecay: 0 },
  ].filter((g) => g.parameters.length > 0);
  const make: { readonly [N in OptimizerConfig["name"]]: () => unknown } = {
    adamw: () => new AdamW(groups, { learningRate, beta1, beta2, eps }),
    lion: () => new Lion(groups, { learningRate, beta1, beta2 }),
    adafactor: () => new Adafactor(groups, { learningRate }),
    sgd: () =>
      new SGD(groups, {
        learningRate,
        ...(momentum === undefined ? {} : { momentum }),
        ...(nesterov === undefined ? {} : { nesterov }),
      }),
  };
  return make[config.name]() as AnyOptimizer;
}

/** The learning rate of every step: warm-up, then the named decay to its floor at the last step. */
export function buildSchedule({ schedule, optimizer, train }: TrainConfig): Schedule {
  const { learningRate } = optimizer;
  const { name, warmupSteps, minLearningRateRatio } = schedule;
  const ramp = {
    from: learningRate,
    to: learningRate * minLearningRateRatio,
    steps: Math.max(1, train.steps - warmupSteps),
  };
  const decay = {
    cosine: schedules.cosine(ramp),
    linear: schedules.linear(ramp),
    constant: schedules.constant(learningRate),
  };
  if (warmupSteps === 0) return decay[name];
  return schedules.sequence(
    { schedule: schedules.warmUp({ steps: warmupSteps, to: learningRate }), steps: warmupSteps },
    { schedule: decay[name] },
  );
}
