import { checkSizes, type LayerOptions, Module } from "@revnet-zero/nn";
import { defaultEngine, type Tensor, zeros } from "@revnet-zero/tensor";
import type { Ladder } from "./ladder.ts";
import { type GroupSizes, type Pooling, type Pyramid, poolLevels } from "./pyramid.ts";

export interface LearnedPoolingOptions extends LayerOptions {
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** Rows of the largest group. */
  readonly mostRows: number;
}

/**
 * A group's rows weighted by a softmax of what each says for itself, u · k, and of its place in the group; values by the keys' weights. Shared
 * by all levels, one a key head. It starts as the mean. Source: Yuan et al. 2025 (arXiv:2502.11089), eq. 7, for a learned compression
 * with positions inside the block.
 */
export class LearnedPooling extends Module implements Pooling {
  /** u `[hk, 1, 1, headDim]` */
  readonly query: Tensor;
  /** `[hk, 1, mostRows]` */
  readonly places: Tensor;

  constructor({ numKeyValueHeads, headDim, mostRows, engine = defaultEngine(), dtype = "f32" }: LearnedPoolingOptions) {
    super();
    checkSizes("LearnedPooling", { numKeyValueHeads, headDim, mostRows });
    this.query = this.parameter(zeros([numKeyValueHeads, 1, 1, headDim], { engine, dtype }));
    this.places = this.parameter(zeros([numKeyValueHeads, 1, mostRows], { engine, dtype }));
  }

  override forward(keys: Tensor, values: Tensor, group: GroupSizes): readonly [Tensor, Tensor] {
    const { counts, radix } = group;
    const scores = keys
      .mul(this.query)
      .sum(4)
      .add(this.places.narrow(2, 0, radix)); // [b, hk, groups, radix]
    // Rows that stand for fewer tokens weigh less, missing ones nothing.
    const weighted = counts === undefined ? scores : scores.add(counts.squeeze(2).log());
    const weights = weighted.softmax(-1).unsqueeze(4);
    return [keys.mul(weights).sum(3), values.mul(weights).sum(3)];
  }

  pyramid(k: Tensor, v: Tensor, ladder: Ladder): Pyramid {
    return poolLevels(k, v, ladder, (keys, values, group) => this.pool(keys, values, group));
  }

  pool(keys: Tensor, values: Tensor, group: GroupSizes): readonly [Tensor, Tensor] {
    return this.within(keys.engine, () => this.forward(keys, values, group));
  }
}
