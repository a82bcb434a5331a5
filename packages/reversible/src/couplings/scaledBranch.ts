import { Module } from "@revnet-zero/nn";
import type { Tensor } from "@revnet-zero/tensor";
import { type Branch, runBranch } from "../branch.ts";

class ScaledBranch extends Module {
  readonly inner: Branch;
  readonly factor: number;

  constructor(inner: Branch, factor: number) {
    super();
    this.inner = inner;
    this.factor = factor;
  }

  override forward(x: Tensor, ...rest: unknown[]): Tensor {
    return runBranch(this.inner, x, ...rest).mul(this.factor);
  }
}

/** A branch times a step size. */
export const scaledBranch = (branch: Branch, factor: number): Branch =>
  factor === 1 ? branch : new ScaledBranch(branch, factor);
