import { ops, type Tensor } from "@revnet-zero/tensor";
import { updateAll, zerosOf } from "./inPlace.ts";
import {
  checkDecay,
  checkNonNegative,
  type GroupInput,
  Optimizer,
  type OptimizerOptions,
  type Slots,
  type StepContext,
  type Update,
  type UpdateCount,
} from "./optimizer.ts";

export interface AdamWOptions extends OptimizerOptions {
  /** Decay of the mean gradient. Default 0.9. */
  readonly beta1: number;
  /** Decay of the mean squared gradient. Default 0.999. */
  readonly beta2: number;
  /** Added to the root of the mean square. Default 1e-8. */
  readonly eps: number;
  /** Parameters shrink by learningRate · weightDecay a step, apart from the gradient. Default 0.01. */
  readonly weightDecay: number;
}

const defaults: AdamWOptions = {
  learningRate: 1e-3,
  learningRateScale: 1,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0.01,
};

/**
 * Adam with decoupled weight decay; all parameters of a group in one op.
 * Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2. We differ: the decay is scaled by the learning
 * rate, as everywhere in practice (there: by the schedule's multiplier alone).
 */
export class AdamW extends Optimizer<AdamWOptions> {
  constructor(parameters: Iterable<Tensor> | readonly GroupInput<AdamWOptions>[], options: Partial<AdamWOptions> = {}) {
    super(parameters, { ...defaults, ...options });
  }

  protected override checkOptions({
    learningRate,
    learningRateScale,
    beta1,
    beta2,
    eps,
    weightDecay,
  }: AdamWOptions): void {
    checkNonNegative("AdamW", { learningRate, learningRateScale, eps, weightDecay });
    checkDecay("AdamW", { beta1, beta2 });
  }

  protected override makeSlots(parameter: Tensor): Slots {
    return { firstMoment: zerosOf(parameter), secondMoment: zerosOf(parameter) };
  }

  protected override readonly scheduleSize = 3;
  protected override schedule({ count, learningRate }: UpdateCount, { beta1, beta2 }: AdamWOptions): readonly number[] {
    return [learningRate, 1 - beta1 ** count, 1 - beta2 ** count];
  }

  protected override update(updates: readonly Update[], options: AdamWOptions, context: StepContext): void {
    const { beta1, beta2, eps, weightDecay } = options;
    updateAll(updates, context, {
      op: ops.adamw,
      copying: ops.adamwCopying,
      attrs: { beta1, beta2, eps, weightDecay },
      tensorsOf: ({ parameter, gradient, slots }) => [parameter, gradient, slots.firstMoment!, slots.secondMoment!],
    });
  }
}
