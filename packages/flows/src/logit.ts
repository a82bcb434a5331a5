import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { checkFloats } from "./errors.ts";
import { Bijection, type FlowOutput, sumOfSample } from "./flowLayer.ts";

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
