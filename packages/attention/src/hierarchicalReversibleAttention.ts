import { Attention, type SelfAttentionOptions } from "@revnet-zero/nn";
import type { Tensor } from "@revnet-zero/tensor";
import { Hierarchical, type HierarchicalOptions } from "./hierarchical.ts";
import { HierarchicalCache } from "./hierarchicalCache.ts";

export interface HierarchicalReversibleAttentionOptions
  extends Omit<SelfAttentionOptions, "dim" | "window">,
    Omit<HierarchicalOptions, "numHeads" | "numKeyValueHeads" | "headDim" | "isCausal" | "engine" | "dtype"> {
  /** Width of the input and output. */
  readonly dModel: number;
}

/**
 * Self-attention `[batch, time, dModel]` -> `[batch, time, dModel]` over a pyramid of summaries, in time O(n log n) where `extendLevels` is on and
 * memory O(n). Being deterministic, it may be the F of a reversible block, which then is exact as with any other: reversibility asks
 * nothing else of F. Rotary positions turn keys before they are pooled, so that a summary's score is the mean of its tokens' scores.
 *
 * ```ts
 * import { HierarchicalReversibleAttention, randomKey, randomNormal } from "revnet-zero";
 *
 * const attention = new HierarchicalReversibleAttention({
 *   dModel: 32,
 *   numHeads: 4,
 *   numKeyValueHeads: 2,
 *   numLevels: 2,
 *   compressionRatios: [4, 16],
 *   leafSize: 8,
 *   rotary: true,
 *   key: randomKey(1),
 * });
 * attention.call(randomNormal([1, 500, 32], { key: randomKey(2) })).shape; // => [ 1, 500, 32 ]
 * attention.hierarchical.ladderFor(500).list.mostKeys; // => 120
 * ```
 */
export class HierarchicalReversibleAttention extends Attention {
  readonly hierarchical: Hierarchical;

  constructor(options: HierarchicalReversibleAttentionOptions) {
    const { dModel } = options;
    super({ ...options, dim: dModel });
    const { numHeads, numKeyValueHeads, headDim, isCausal } = this;
    this.hierarchical = new Hierarchical({ ...options, numHeads, numKeyValueHeads, headDim, isCausal });
  }

  protected override attend(q: Tensor, k: Tensor, v: Tensor): Tensor {
    return this.hierarchical.call(q, k, v);
  }

  /** For generation, O(log n) rows where `extendLevels` is on: `call(x, { cache })` with the steps in order, from the first. */
  cache(batch = 1): HierarchicalCache {
    return new HierarchicalCache(this.hierarchical, { batch });
  }
}
