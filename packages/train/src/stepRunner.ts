import type { ByteBatch } from "@revnet-zero/data";
import type { ReversibleTransformer } from "@revnet-zero/models";
import { foldKey, type Key } from "@revnet-zero/tensor";
import type { AnyOptimizer } from "./build.ts";
import type { TrainConfig } from "./config.ts";
import { applyGradients, computeGradients, type Pass, recordedPassOf, toTensors } from "./step.ts";
import { recordedStepOf, type StepMeasures } from "./wholeStep.ts";

/** What a step is told. */
export interface StepInput {
  readonly batches: readonly ByteBatch[];
  /** Number of the step, from 0: with the key, what random layers draw from. */
  readonly step: number;
  readonly key: Key;
  readonly learningRate: number;
}

/** A step whose loss and norm are known on the device: it counts, or it is left out. */
export interface PendingStep extends StepMeasures {
  accept(): void;
  reject(): void;
}

/** A way to run training steps. */
export interface StepRunner {
  run(input: StepInput): PendingStep;
  /** Why the last step was no graph of the device; undefined where it was, or was not meant to be. */
  readonly whyNoGraph?: string | undefined;
  dispose(): void;
}

/** What runs the steps of. */
export interface StepSubject {
  readonly model: ReversibleTransformer;
  readonly optimizer: AnyOptimizer;
  readonly config: TrainConfig;
  /** What the loss is multiplied with before backward (`GradScaler`). */
  readonly scale: () => number;
}

/** Steps whose passes are run by `pass` and whose updates are called. Without a pass, the model's, unrecorded. */
export function stepsByPass(
  { model, optimizer, config, scale }: StepSubject,
  pass?: Pass & { readonly dispose?: () => void },
  whyNoGraph?: string,
): StepRunner {
  const { precision } = config.train;
  const { clipNorm } = config.optimizer;
  return {
    whyNoGraph,
    run({ batches, key, step, learningRate }) {
      const { loss, norm, factor } = computeGradients(model, batches, {
        ...{ key, step, clipNorm, precision, scale: scale() },
        ...(pass === undefined ? {} : { pass }),
      });
      return {
        ...{ loss, norm },
        accept: () => applyGradients(optimizer, learningRate, factor),
        reject: () => optimizer.zeroGrad(),
      };
    },
    dispose: () => pass?.dispose?.(),
  };
}

/** Steps run as a configuration says, from recordings. */
export function recordedSteps(subject: StepSubject): StepRunner {
  const { model, config, scale } = subject;
  const { precision, microBatches, graph = false } = config.train;
  if (graph) return wholeSteps(subject);
  return stepsByPass(subject, recordedPassOf(model, microBatches, { precision, scale }));
}

/** Steps that are recorded as wholes, each a graph where the device has graphs. */
function wholeSteps({ model, optimizer, config, scale }: StepSubject): StepRunner {
  const { engine } = model.embedding.tokens.weight;
  let learningRate = 0;
  const compiled = recordedStepOf(model, optimizer, {
    clipNorm: config.optimizer.clipNorm,
    precision: config.train.precision,
    ...{ scale, learningRate: () => learningRate, graph: true },
  });
  return {
    run({ batches, key, step, learningRate: rate }) {
      learningRate = rate;
      const tensors = batches.flatMap((batch) => toTensors(batch, engine));
      const measures = engine.withKey(foldKey(key, step), () => compiled(...tensors));
      for (const t of tensors) t.dispose();
      return { ...measures, accept: () => {}, reject: () => optimizer.takeBack() };
    },
    get whyNoGraph() {
      // The one of the last call.
      return compiled.reason ?? compiled.recordings.at(-1)?.whyNoGraph;
    },
    dispose: () => compiled.dispose(),
  };
}
