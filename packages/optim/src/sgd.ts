import type { Tensor } from "@revnet-zero/tensor";
import { eachUpdate, zerosOf } from "./inPlace.ts";
import {
  checkDecay,
  checkNonNegative,
  type GroupInput,
  Optimizer,
  type OptimizerOptions,
  type Slots,
  type StepContext,
  type Update,
} from "./optimizer.ts";

export interface SGDOptions extends OptimizerOptions {
  /** Decay of the velocity; 0 keeps none. Default 0. */
  readonly momentum: number;
  /** Step along the gradient at the place the velocity leads to. Default false. */
  readonly nesterov: boolean;
  /** weightDecay · parameter is added to the gradient (an L2 penalty of half of that). Default 0. */
  readonly weightDecay: number;
}

const defaults: SGDOptions = {
  learningRate: 1e-2,
  learningRateScale: 1,
  momentum: 0,
  nesterov: false,
  weightDecay: 0,
};

/**
 * Stochastic gradient descent: v ← μ v + g; p ← p - η v, or with Nesterov p ← p - η (g + μ v).
 * Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", section 2, with
 * the learning rate outside of the velocity, so that changing it acts at once.
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(parameters: Iterable<Tensor> | readonly GroupInput<SGDOptions>[], options: Partial<SGDOptions> = {}) {
    super(parameters, { ...defaults, ...options });
  }

  protected override checkOptions({ learningRate, learningRateScale, momentum, weightDecay }: SGDOptions): void {
    checkNonNegative("SGD", { learningRate, learningRateScale, weightDecay });
    checkDecay("SGD", { momentum });
  }

  protected override makeSlots(parameter: Tensor, { momentum }: SGDOptions): Slots {
    return momentum === 0 ? {} : { velocity: zerosOf(parameter) };
  }

  protected override update(updates: readonly Update[], options: SGDOptions, context: StepContext): void {
    const { momentum, nesterov, weightDecay } = options;
    eachUpdate(updates, context, ({ parameter, gradient, slots }) => {
      const g = weightDecay === 0 ? gradient : gradient.add(parameter.mul(weightDecay));
      const { velocity } = slots;
      let direction = g;
      if (velocity !== undefined) {
        velocity.assign(velocity.mul(momentum).add(g));
        direction = nesterov ? g.add(velocity.mul(momentum)) : velocity;
      }
      parameter.assign(parameter.sub(direction.mul(context.learningRate)));
    });
  }
}
