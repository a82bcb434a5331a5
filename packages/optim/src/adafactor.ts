import type { Tensor } from "@revnet-zero/tensor";
import { eachUpdate, zerosOf } from "./inPlace.ts";
import {
  checkNonNegative,
  type GroupInput,
  Optimizer,
  type OptimizerOptions,
  type Slots,
  type StepContext,
  type Update,
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

  protected override update(updates: readonly Update[], options: AdafactorOptions, context: StepContext): void {
    const { eps1, eps2, clipThreshold, weightDecay, relativeStep, decayPower } = options;
    eachUpdate(updates, context, ({ parameter, gradient, slots, count }) => {
      const decay = 1 - count ** -decayPower; // 0 in the first step: no bias to correct.
      const second = secondMoment(gradient.square().add(eps1), slots, decay);
      const raw = gradient.div(second.sqrt());
      const clipped = raw.div(rms(raw).div(clipThreshold).maximum(1));
      const isOwnRate = relativeStep && !context.isScheduled;
      const rate = isOwnRate ? Math.min(0.01, 1 / Math.sqrt(count)) * options.learningRateScale : context.learningRate;
      const update = weightDecay === 0 ? clipped : clipped.add(parameter.mul(weightDecay));
      const scale = relativeStep ? rms(parameter).maximum(eps2).mul(rate) : rate;
      parameter.assign(parameter.sub(update.mul(scale)));
    });
  }
}

/** Updates the state with squared gradients; the second moment it stands for, at the parameter's shape. */
function secondMoment(squares: Tensor, slots: Slots, decay: number): Tensor {
  const blend = (held: Tensor, fresh: Tensor): Tensor => held.assign(held.mul(decay).add(fresh.mul(1 - decay)));
  const { secondMoment: full, rows, columns } = slots;
  if (full !== undefined) return blend(full, squares);
  const r = blend(rows!, squares.sum(-1, { keepDims: true })); // [..., n, 1]
  const c = blend(columns!, squares.sum(-2, { keepDims: true })); // [..., 1, m]
  // Divide before multiplying: with eps1 alone in both, their product would underflow in f32.
  return r.div(r.sum(-2, { keepDims: true })).mul(c);
}

const rms = (x: Tensor): Tensor => x.square().mean().sqrt();
