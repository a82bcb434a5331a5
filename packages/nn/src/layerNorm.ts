import { type DType, defaultEngine, full, type Tensor } from "@revnet-zero/tensor";
import { Module } from "./module.ts";
import { checkSizes, type LayerOptions } from "./options.ts";

export interface LayerNormOptions extends LayerOptions {
  readonly dim: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * (x - mean) / sqrt(variance + eps) · weight + bias over the last axis: `[..., dim]` -> `[..., dim]`.
 * Source: Ba, Kiros & Hinton 2016 (arXiv:1607.06450).
 */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly eps: number;

  constructor({ dim, eps = 1e-5, engine = defaultEngine(), dtype = "f32" }: LayerNormOptions) {
    super();
    checkSizes("LayerNorm", { dim });
    this.weight = this.parameter(full([dim], 1, { dtype, engine }));
    this.bias = this.parameter(full([dim], 0, { dtype, engine }));
    this.eps = eps;
  }

  /** The parameters as the op takes them. */
  get operands(): readonly Tensor[] {
    return [this.weight, this.bias];
  }

  /** `to`: the type of the result, where what reads it wants another than x has. */
  override forward(x: Tensor, { to }: { readonly to?: DType | undefined } = {}): Tensor {
    return x.layerNorm(this.weight, this.bias, this.eps, to);
  }
}
