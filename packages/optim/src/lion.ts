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

export interface LionOptions extends OptimizerOptions {
  /** Share of the momentum in the direction of a step. Default 0.9. */
  readonly beta1: number;
  /** Decay of the momentum. Default 0.99. */
  readonly beta2: number;
  /** Parameters shrink by learningRate · weightDecay a step. Default 0. */
  readonly weightDecay: number;
}

const defaults: LionOptions = { learningRate: 1e-4, learningRateScale: 1, beta1: 0.9, beta2: 0.99, weightDecay: 0 };

/**
 * Steps by the sign of a momentum, all parameters of a group in one op: p ← p - η (sign(β1 m + (1 - β1) g) + λ p); m ← β2 m + (1 - β2) g. Keeps half the
 * state of AdamW; learning rates are 3 to 10 times smaller, weight decays that much larger.
 * Source: Chen et al. 2023 (arXiv:2302.06675), algorithm 2.
 */
export class Lion extends Optimizer<LionOptions> {
  constructor(parameters: Iterable<Tensor> | readonly GroupInput<LionOptions>[], options: Partial<LionOptions> = {}) {
    super(parameters, { ...defaults, ...options });
  }

  protected override checkOptions({ learningRate, learningRateScale, beta1, beta2, weightDecay }: LionOptions): void {
    checkNonNegative("Lion", { learningRate, learningRateScale, weightDecay });
    checkDecay("Lion", { beta1, beta2 });
  }

  protected override makeSlots(parameter: Tensor): Slots {
    return { momentum: zerosOf(parameter) };
  }

  protected override readonly scheduleSize = 1;
  protected override schedule({ learningRate }: UpdateCount): readonly number[] {
    return [learningRate];
  }

  protected override update(updates: readonly Update[], options: LionOptions, context: StepContext): void {
    const { beta1, beta2, weightDecay } = options;
    updateAll(updates, context, {
      op: ops.lion,
      attrs: { beta1, beta2, weightDecay },
      tensorsOf: ({ parameter, gradient, slots }) => [parameter, gradient, slots.momentum!],
    });
  }
}
