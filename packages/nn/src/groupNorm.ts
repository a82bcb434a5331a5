import { defaultEngine, describe, full, ShapeError, type Tensor, ValueError, zeros } from "@revnet-zero/tensor";
import { Module } from "./module.ts";
import { checkSizes, type LayerOptions } from "./options.ts";

export interface GroupNormOptions extends LayerOptions {
  /** Number of channels. */
  readonly dim: number;
  /** Groups of neighbouring channels that are standardised together. Default: 8, or the largest smaller power of two that divides dim. */
  readonly groups?: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * Standardises every group of channels of every image, then scales and shifts each channel: `[batch, dim, h, w]` in and
 * out. Images do not see each other, and training and evaluation compute the same.
 * Source: Wu & He 2018 (arXiv:1803.08494), section 3.1.
 */
export class GroupNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly groups: number;
  readonly eps: number;

  constructor({ dim, eps = 1e-5, engine = defaultEngine(), dtype = "f32", ...rest }: GroupNormOptions) {
    super();
    const groups = rest.groups ?? [8, 4, 2, 1].find((n) => dim % n === 0)!;
    checkSizes("GroupNorm", { dim, groups });
    if (dim % groups !== 0)
      throw new ValueError(
        "GroupNorm",
        `${dim} channels do not divide into ${groups} groups`,
        "make dim a multiple of groups",
      );
    this.weight = this.parameter(full([dim], 1, { dtype, engine }));
    this.bias = this.parameter(full([dim], 0, { dtype, engine }));
    this.groups = groups;
    this.eps = eps;
  }

  override forward(x: Tensor): Tensor {
    const dim = this.weight.size;
    if (x.rank !== 4 || x.shape[1] !== dim) {
      throw new ShapeError(
        "GroupNorm",
        `needs [batch, ${dim}, h, w], got ${describe(x)}`,
        "unsqueeze(0) a single image",
      );
    }
    const { engine, dtype } = x;
    // The layer norm's kernel on rows of a group each, without parameters: those are one a channel.
    const rows = x.reshape([x.shape[0]! * this.groups, -1]);
    const size = rows.shape[1]!;
    const standard = rows.layerNorm(full([size], 1, { engine, dtype }), zeros([size], { engine, dtype }), this.eps);
    const perChannel = (t: Tensor): Tensor => t.reshape([dim, 1, 1]);
    return standard.reshape(x.shape).mul(perChannel(this.weight)).add(perChannel(this.bias));
  }
}
