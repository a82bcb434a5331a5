import { type ElementwiseOp, expr, type Tensor } from "@revnet-zero/tensor";
import { eachUpdate, orKept, overwrite, updateRule, zerosOf } from "./inPlace.ts";
import {
  checkNonNegative,
  type GroupInput,
  Optimizer,
  type OptimizerOptions,
  type Slots,
  type StepContext,
  type Update,
  type UpdateCount,
} from "./optimizer.ts";

export interface AdafactorOptions extends OptimizerOptions {
  /**
   * Steps relative to the size of the parameter: max(eps2, RMS(p)) · rate, where the rate is that of `step`, or
   * min(0.01, 1/sqrt(t)) when it is given none. False: the learning rate as it is. Default true.
   */
  readonly relativeStep: boolean;
  /** The second moment's decay is 1 - t^-decayPower. Default 0.8. */
  readonly decayPower: number;
  /** Added to squared gradients. Default 1e-30. */
  readonly eps1: number;
  /** Least size a parameter counts as. Default 1e-3. */
  readonly eps2: number;
  /** Largest RMS of an update before the learning rate. Default 1. */
  readonly clipThreshold: number;
  /** Parameters shrink by learningRate · weightDecay a step. Default 0. */
  readonly weightDecay: number;
}

const defaults: AdafactorOptions = {
  learningRate: 1e-2,
  learningRateScale: 1,
  relativeStep: true,
  decayPower: 0.8,
  eps1: 1e-30,
  eps2: 1e-3,
  clipThreshold: 1,
  weightDecay: 0,
};

const { add, div, mul, sqrt, sub } = expr;

/** g, factor -> g² + ε1. */
const squareRule: ElementwiseOp<{ readonly eps1: number }> = updateRule(
  "adafactorSquare",
  2,
  ([g, factor], { eps1 }) => {
    const clipped = mul(g!, factor!);
    return add(mul(clipped, clipped), eps1);
  },
);
/** held, fresh, decay, factor -> the mean of the first two by the decay. */
const blendRule: ElementwiseOp = updateRule("adafactorBlend", 4, ([held, fresh, decay, factor]) =>
  orKept(factor!, add(mul(decay!, held!), mul(sub(1, decay!), fresh!)), held!),
);
/** g, factor, and two broadcast factors of the second moment -> g / sqrt(a b). */
const directionRule: ElementwiseOp = updateRule("adafactorDirection", 4, ([g, factor, a, b]) =>
  div(mul(g!, factor!), sqrt(mul(a!, b!))),
);
/** p, u, clip, α, factor -> p - α (u / clip + λ p). */
const parameterRule: ElementwiseOp<{ readonly weightDecay: number }> = updateRule(
  "adafactor",
  5,
  ([p, u, clip, scale, factor], { weightDecay }) =>
    orKept(factor!, sub(p!, mul(scale!, add(div(u!, clip!), mul(weightDecay, p!)))), p!),
);

/**
 * Second moments of matrices kept as row and column sums: state of n + m numbers instead of n · m. Tensors of more
 * axes are stacks of matrices over the last two; vectors keep the full moment. No first moment.
 * Source: Shazeer & Stern 2018 (arXiv:1804.04235), algorithms 4 (matrices), 5 (vectors) and 6 (the constants).
 */
export class Adafactor extends Optimizer<AdafactorOptions> {
  constructor(
    parameters: Iterable<Tensor> | readonly GroupInput<AdafactorOptions>[],
    options: Partial<AdafactorOptions> = {},
  ) {
    super(parameters, { ...defaults, ...options });
  }

  protected override checkOptions(options: AdafactorOptions): void {
    const { learningRate, learningRateScale, decayPower, eps1, eps2, clipThreshold, weightDecay } = options;
    checkNonNegative("Adafactor", {
      learningRate,
      learningRateScale,
      decayPower,
      eps1,
      eps2,
      clipThreshold,
      weightDecay,
    });
  }

  protected override makeSlots(parameter: Tensor): Slots {
    const { shape } = parameter;
    if (shape.length < 2) return { secondMoment: zerosOf(parameter) };
    return {
      rows: parameter.fullOf([...shape.slice(0, -1), 1], 0),
      columns: parameter.fullOf([...shape.slice(0, -2), 1, shape[shape.length - 1]!], 0),
    };
  }

  protected override readonly scheduleSize = 2;
  protected override schedule(
    { count, learningRate, isScheduled }: UpdateCount,
    { decayPower, relativeStep, learningRateScale }: AdafactorOptions,
  ): readonly number[] {
    const ownRate = Math.min(0.01, 1 / Math.sqrt(count)) * learningRateScale;
    // The decay is 0 in the first step: no bias to correct.
    return [relativeStep && !isScheduled ? ownRate : learningRate, 1 - count ** -decayPower];
  }

  protected override update(updates: readonly Update[], options: AdafactorOptions, context: StepContext): void {
    const { eps1, eps2, clipThreshold, weightDecay, relativeStep } = options;
    eachUpdate(updates, context, ({ parameter, gradient, slots, factor, schedule }) => {
      const { engine } = parameter;
      const [rate, decay] = schedule as [Tensor, Tensor];
      const [a, b] = engine.scope(() => {
        const squares = gradient.apply(squareRule, [gradient, factor], { eps1 });
        return secondMoment(slots, { squares, decay, factor });
      });
      const u = gradient.apply(directionRule, [gradient, factor, a, b], undefined);
      const clip = rms(u).div(clipThreshold).maximum(1);
      const scale = relativeStep ? rms(parameter).maximum(eps2).mul(rate) : rate;
      overwrite(parameterRule, [parameter, u, clip, scale, factor], { weightDecay });
    });
  }
}

/** Updates the state with squared gradients; two factors whose product, broadcast, is the second moment. */
function secondMoment(
  slots: Slots,
  { squares, decay, factor }: { readonly squares: Tensor; readonly decay: Tensor; readonly factor: Tensor },
): [Tensor, Tensor] {
  const { secondMoment: full, rows, columns } = slots;
  if (full !== undefined) {
    overwrite(blendRule, [full, squares, decay, factor], undefined);
    return [full, full.fullOf([], 1)];
  }
  overwrite(blendRule, [rows!, squares.sum(-1, { keepDims: true }), decay, factor], undefined); // [..., n, 1]
  overwrite(blendRule, [columns!, squares.sum(-2, { keepDims: true }), decay, factor], undefined); // [..., 1, m]
  // Divided before they are multiplied: with ε1 alone in rows and columns, their product would underflow in f32.
  return [rows!.div(rows!.sum(-2, { keepDims: true })), columns!];
}

/** Root of the mean square: a scalar. */
const rms = (x: Tensor): Tensor => x.engine.scope(() => x.square().mean().sqrt());
