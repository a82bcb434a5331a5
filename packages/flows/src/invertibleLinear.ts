import { checkSizes, type RandomLayerOptions } from "@revnet-zero/nn";
import { defaultEngine, type Tensor, tensor } from "@revnet-zero/tensor";
import { checkChannels, checkFloats } from "./errors.ts";
import { Bijection, type FlowOutput, mixChannels, positionsOf, sameForAll } from "./flowLayer.ts";
import { factorise, randomOrthogonal } from "./rotation.ts";
import { invertUnitLower, maskOf, quarterMasks } from "./triangular.ts";

export interface InvertibleLinearOptions extends Omit<RandomLayerOptions, "init"> {
  readonly channels: number;
}

/**
 * A learned invertible mixing of channels, `[batch, c, ...]`, a 1x1 convolution on images: W = P·L·(U + diag(s)) with a fixed
 * permutation P, unit triangular L, strictly triangular U, and s = sign · exp(logScale) with fixed signs. Starts as a random
 * rotation. log |det W| = Σ logScale; the inverse costs log₂ c products of c x c matrices, and no solve.
 * Source: Kingma & Dhariwal 2018 (arXiv:1807.03039), section 3.2, eq. 10-11.
 */
export class InvertibleLinear extends Bijection {
  /** `[c, c]`; read below the diagonal. */
  readonly lower: Tensor;
  /** `[c, c]`; read above the diagonal. */
  readonly upper: Tensor;
  /** log |s|, `[c]`. */
  readonly logScale: Tensor;
  /** The signs of s, `[c]`. */
  readonly sign: Tensor;
  /** Row i of W is row `rows[i]` of L·U: i32 `[c]`. */
  readonly rows: Tensor;
  readonly identity: Tensor;
  readonly below: Tensor;
  readonly quarters: readonly Tensor[];

  constructor({ channels: n, key, engine = defaultEngine(), dtype = "f32" }: InvertibleLinearOptions) {
    super();
    checkSizes("InvertibleLinear", { channels: n });
    const { packed, rows } = factorise(randomOrthogonal(n, key), n);
    const diagonal = Float64Array.from({ length: n }, (_, i) => packed[i * n + i]!);
    const options = { dtype, engine };
    const part = (isIn: (row: number, column: number) => boolean): Tensor =>
      tensor(
        packed.map((v, i) => (isIn(Math.floor(i / n), i % n) ? v : 0)),
        { ...options, shape: [n, n] },
      );
    this.lower = this.parameter(part((r, c) => r > c));
    this.upper = this.parameter(part((r, c) => r < c));
    this.logScale = this.parameter(
      tensor(
        diagonal.map((s) => Math.log(Math.abs(s))),
        options,
      ),
    );
    this.sign = this.buffer(tensor(diagonal.map(Math.sign), options));
    const places = Int32Array.from(rows, (_, i) => rows.indexOf(i));
    this.rows = this.buffer(tensor(places, { engine }));
    const constant = { isPersistent: false };
    this.identity = this.buffer(
      maskOf(n, (r, c) => r === c, options),
      constant,
    );
    this.below = this.buffer(
      maskOf(n, (r, c) => r > c, options),
      constant,
    );
    this.quarters = quarterMasks(n, options).map((mask) => this.buffer(mask, constant));
  }

  /** W, `[c, c]`. */
  weight(): Tensor {
    const { lower, upper, identity, below, rows } = this;
    return lower.engine.scope(() => {
      const scale = identity.mul(this.#scale(1));
      const product = lower.mul(below).add(identity).matmul(upper.mul(below.transpose()).add(scale));
      return product.take(rows, 0);
    });
  }

  /** W⁻¹, `[c, c]`. */
  inverseWeight(): Tensor {
    const { lower, upper, identity, below, rows, quarters } = this;
    return lower.engine.scope(() => {
      const invert = (t: Tensor): Tensor => invertUnitLower(t, identity, quarters);
      // U + diag(s) = diag(s) · (I + diag(1/s) U): a unit triangle behind a scale.
      const inverseScale = this.#scale(-1);
      const unitUpper = upper.mul(below.transpose()).mul(inverseScale.unsqueeze(1)).add(identity);
      const inverseUpper = invert(unitUpper.transpose()).transpose().mul(inverseScale);
      const inverseLower = invert(lower.mul(below).add(identity));
      return inverseUpper.matmul(inverseLower).take(rows, 1);
    });
  }

  override forward(x: Tensor): FlowOutput {
    this.#check(x);
    const logDeterminant = sameForAll(x, this.logScale.sum().mul(positionsOf(x)));
    return { value: mixChannels(() => this.weight(), x), logDeterminant };
  }
  protected override invert(y: Tensor): FlowOutput {
    this.#check(y);
    const logDeterminant = sameForAll(y, this.logScale.sum().mul(-positionsOf(y)));
    return { value: mixChannels(() => this.inverseWeight(), y), logDeterminant };
  }

  /** s, or 1/s. */
  #scale(power: 1 | -1): Tensor {
    return this.logScale.mul(power).exp().mul(this.sign);
  }

  #check(x: Tensor): void {
    checkFloats("InvertibleLinear", x);
    checkChannels("InvertibleLinear", x, this.logScale.size);
  }
}
