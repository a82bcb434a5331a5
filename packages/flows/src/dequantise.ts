import { type Key, randomUniform, type Tensor, ValueError } from "@revnet-zero/tensor";
import { sumOfSample } from "./coupling.ts";
import { checkFloats } from "./errors.ts";
import { Bijection, type FlowOutput } from "./flowLayer.ts";

export interface DequantisationOptions {
  readonly key: Key;
  /** Number of values an element can have. Default 256. */
  readonly levels?: number;
}

/**
 * Whole numbers 0 ... levels - 1 as floats in (0, 1): (x + u) / levels with u uniform in (0, 1), on a grid so coarse that float32 holds
 * every sum: `quantisePixels` gives the pixels back. The density of a continuous model of these bounds the probability of the whole
 * numbers from below. Throws ValueError for levels beyond 2^16.
 * Source: Theis, van den Oord & Bethge 2016 (arXiv:1511.01844), section 3.1.
 */
export function dequantisePixels(pixels: Tensor, { key, levels = 256 }: DequantisationOptions): Tensor {
  checkLevels("dequantisePixels", levels);
  const grid = 2 ** (20 - Math.ceil(Math.log2(levels)));
  return pixels.engine.scope(() => {
    const uniform = randomUniform(pixels.shape, { key, engine: pixels.engine });
    const noise = uniform
      .mul(grid)
      .floor()
      .add(0.5)
      .mul(1 / grid);
    return pixels
      .cast("f32")
      .add(noise)
      .mul(1 / levels);
  });
}

/** The whole numbers i32 that floats in [0, 1) stand for; what lies outside goes to the first and the last. */
export function quantisePixels(x: Tensor, { levels = 256 }: Pick<DequantisationOptions, "levels"> = {}): Tensor {
  checkLevels("quantisePixels", levels);
  return x.engine.scope(() =>
    x
      .mul(levels)
      .floor()
      .maximum(0)
      .minimum(levels - 1)
      .cast("i32"),
  );
}

function checkLevels(op: string, levels: number): void {
  if (Number.isInteger(levels) && levels >= 2 && levels <= 2 ** 16) return;
  throw new ValueError(op, `levels is ${levels}`, "use an integer from 2 to 65536");
}

export interface LogitOptions {
  /** The unit interval is first shrunk to [alpha, 1 - alpha]. Default 0.05. */
  readonly alpha?: number;
}

/**
 * Takes [0, 1) to the real line: logit(alpha + (1 - 2·alpha)·x), elementwise.
 * Source: Dinh et al. 2016 (arXiv:1605.08803), section 4.1 (alpha 0.05; we differ: shrunk on both sides).
 */
export class Logit extends Bijection {
  readonly alpha: number;

  constructor({ alpha = 0.05 }: LogitOptions = {}) {
    super();
    if (!(alpha > 0 && alpha < 0.5))
      throw new ValueError("Logit", `alpha is ${alpha}`, "use a number between 0 and 0.5");
    this.alpha = alpha;
  }

  override forward(x: Tensor): FlowOutput {
    checkFloats("Logit", x);
    const p = x.mul(1 - 2 * this.alpha).add(this.alpha);
    const value = p.log().sub(p.neg().log1p());
    return { value, logDeterminant: this.#logDeterminant(value) };
  }
  protected override invert(y: Tensor): FlowOutput {
    checkFloats("Logit", y);
    const value = y
      .sigmoid()
      .sub(this.alpha)
      .mul(1 / (1 - 2 * this.alpha));
    return { value, logDeterminant: this.#logDeterminant(y).neg() };
  }

  /** d logit(p) / dp = 1 / (p (1 - p)), and -log(p (1 - p)) = softplus(y) + softplus(-y). */
  #logDeterminant(y: Tensor): Tensor {
    return sumOfSample(
      y
        .softplus()
        .add(y.neg().softplus())
        .add(Math.log(1 - 2 * this.alpha)),
    );
  }
}
