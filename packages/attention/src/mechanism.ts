import { Attention, Module, type SelfAttentionOptions } from "@revnet-zero/nn";
import type { Tensor } from "@revnet-zero/tensor";
import { sparseAttention, type TiledAttentionOptions, tiledAttention } from "./attend.ts";
import type { TileList } from "./tileList.ts";

/**
 * One way for queries to take from values: q `[b, h, t, d]`, k `[b, hk, t, d]`, v `[b, hk, t, e]` -> `[b, h, t, e]`, for key heads that divide
 * the query heads. Deterministic, so that any of them may stand in a reversible block; memory is linear in t.
 */
export abstract class Mechanism extends Module {
  abstract override forward(q: Tensor, k: Tensor, v: Tensor): Tensor;
}

/** Exact softmax attention. */
export class Tiled extends Mechanism {
  readonly #options: TiledAttentionOptions;

  constructor(options: TiledAttentionOptions = { isCausal: true }) {
    super();
    this.#options = options;
  }

  override forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
    return tiledAttention(q, k, v, this.#options);
  }
}

/** Softmax attention to a part of the keys. */
export class BlockSparse extends Mechanism {
  readonly #listFor: (length: number) => TileList;
  #last: TileList | undefined;

  /** `listFor` gives the list for a sequence of so many tokens: `(n) => patternList(windowBlocks(2), { queries: n, blockSize: 32 })`. */
  constructor(listFor: (length: number) => TileList) {
    super();
    this.#listFor = listFor;
  }

  override forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
    const length = q.shape[2]!;
    if (this.#last?.queries !== length) this.#last = this.#listFor(length);
    return sparseAttention(q, k, v, this.#last).output;
  }
}

export interface MechanismAttentionOptions extends SelfAttentionOptions {
  readonly mechanism: Mechanism;
}

/** A self-attention layer `[batch, time, dim]` whose heads attend by any mechanism. */
export class MechanismAttention extends Attention {
  readonly mechanism: Mechanism;

  constructor({ mechanism, ...options }: MechanismAttentionOptions) {
    super(options);
    this.mechanism = mechanism;
  }

  protected override attend(q: Tensor, k: Tensor, v: Tensor): Tensor {
    return this.mechanism.call(q, k, v);
  }
}
