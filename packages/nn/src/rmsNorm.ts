import { type DType, defaultEngine, full, type Tensor } from "@revnet-zero/tensor";
import { Module } from "./module.ts";
import { checkSizes, type LayerOptions } from "./options.ts";

export interface RMSNormOptions extends LayerOptions {
  readonly dim: number;
  /** Added to the mean square. Default 1e-6. */
  readonly eps?: number;
}

/**
 * x / sqrt(mean x² + eps) · weight over the last axis: `[..., dim]` -> `[..., dim]`.
 * Source: Zhang & Sennrich 2019 (arXiv:1910.07467), eq. 4.
 */
export class RMSNorm extends Module {
  readonly weight: Tensor;
  readonly eps: number;

  constructor({ dim, eps = 1e-6, engine = defaultEngine(), dtype = "f32" }: RMSNormOptions) {
    super();
    checkSizes("RMSNorm", { dim });
    this.weight = this.parameter(full([dim], 1, { dtype, engine }));
    this.eps = eps;
  }

  /** The parameters as the op takes them. */
  get operands(): readonly Tensor[] {
    return [this.weight];
  }

  /** `to`: the type of the result, where what reads it wants another than x has. */
  override forward(x: Tensor, { to }: { readonly to?: DType | undefined } = {}): Tensor {
    return x.rmsNorm(this.weight, this.eps, to);
  }
}
