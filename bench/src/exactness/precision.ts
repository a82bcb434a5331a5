import { Module } from "@revnet-zero/nn";
import { type Branch, runBranch } from "@revnet-zero/reversible";
import type { Tensor } from "@revnet-zero/tensor";

export type BranchDType = "f32" | "bf16";

/** A branch whose matrix products and attention read operands rounded to bfloat16, as on hardware that has it. */
class LowPrecision extends Module {
  readonly inner: Branch;

  constructor(inner: Branch) {
    super();
    this.inner = inner;
  }

  override forward(x: Tensor): Tensor {
    return x.engine.autocast("bf16", () => runBranch(this.inner, x));
  }
}

export const inPrecision = (branch: Branch, dtype: BranchDType): Branch =>
  dtype === "f32" ? branch : new LowPrecision(branch);
