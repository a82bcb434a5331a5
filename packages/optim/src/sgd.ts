import { type ElementwiseOp, expr, type Tensor } from "@revnet-zero/tensor";
import { eachUpdate, orKept, overwrite, updateRule, zerosOf } from "./inPlace.ts";
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

type Rule = Pick<SGDOptions, "momentum" | "nesterov" | "weightDecay">;

const { add, mul, sub } = expr;
const decayed = (p: expr.E, g: expr.E, factor: expr.E, { weightDecay }: Rule): expr.Expr =>
  add(mul(g, factor), mul(weightDecay, p));

/** v, p, g, factor -> μ v + g. */
const velocityRule: ElementwiseOp<Rule> = updateRule("sgdVelocity", 4, ([v, p, g, factor], rule) =>
  orKept(factor!, add(mul(rule.momentum, v!), decayed(p!, g!, factor!, rule)), v!),
);
/** p, g, factor, η -> p - η g. */
const plainRule: ElementwiseOp<Rule> = updateRule("sgd", 4, ([p, g, factor, rate], rule) =>
  orKept(factor!, sub(p!, mul(rate!, decayed(p!, g!, factor!, rule))), p!),
);
/** p, g, factor, η, new v -> p - η v, or p - η (g + μ v). */
const momentumRule: ElementwiseOp<Rule> = updateRule("sgdMomentum", 5, ([p, g, factor, rate, v], rule) =>
  orKept(
    factor!,
    sub(p!, mul(rate!, rule.nesterov ? add(decayed(p!, g!, factor!, rule), mul(rule.momentum, v!)) : v!)),
    p!,
  ),
);

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

  protected override readonly scheduleSize = 1;
  protected override schedule({ learningRate }: UpdateCount): readonly number[] {
    return [learningRate];
  }

  protected override update(updates: readonly Update[], options: SGDOptions, context: StepContext): void {
    const { momentum, nesterov, weightDecay } = options;
    const rule: Rule = { momentum, nesterov, weightDecay };
    eachUpdate(updates, context, ({ parameter, gradient, slots: { velocity }, factor, schedule: [rate] }) => {
      if (velocity === undefined) overwrite(plainRule, [parameter, gradient, factor, rate!], rule);
      else {
        overwrite(velocityRule, [velocity, parameter, gradient, factor], rule);
        overwrite(momentumRule, [parameter, gradient, factor, rate!, velocity], rule);
      }
    });
  }
}
