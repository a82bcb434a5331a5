import { fromWords, type Tensor } from "@revnet-zero/tensor";
import { type Ladder, tokensOf } from "./ladder.ts";
import type { TileList } from "./tileList.ts";

// Oracles: the same functions with every pair of a query and a key written out, [t, s] scores a head. For tests and short sequences.

/** The logarithm of how often each query sees each key, [t, s]: 0 for once, -inf for never. */
export function logVisibility(list: TileList, like: Tensor, batch = 0): Tensor {
  const logs = Float32Array.from(list.counts(batch), Math.log);
  return fromWords(logs, [list.queries, list.keys], "f32", like.engine).cast(like.dtype);
}

/** softmax(scale · q kᵀ + bias) v with `bias` [t, s], or [b, h, t, s], of which -inf hides a key; queries that see nothing get zeros. */
export function denseAttention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: number): Tensor {
  return q.engine.scope(() => {
    const group = q.shape[1]! / k.shape[1]!;
    const shared = (x: Tensor): Tensor => (group === 1 ? x : repeatHeads(x, group));
    const scores = q.matmul(shared(k).transpose()).mul(scale).add(bias);
    const sees = scores.detach().max(-1, { keepDims: true }).greater(Number.NEGATIVE_INFINITY);
    const weights = sees.where(scores, 0).softmax(-1);
    return sees.where(weights.matmul(shared(v)), 0);
  }, "denseAttention");
}

/** Every key head for each of its query heads. */
function repeatHeads(x: Tensor, group: number): Tensor {
  const [b, hk, s, d] = x.shape as readonly number[] as [number, number, number, number];
  return x
    .unsqueeze(2)
    .expand([b, hk, group, s, d])
    .reshape([b, hk * group, s, d]);
}

/**
 * Which tokens each query sees, and on which level, from a ladder: [t · length] counts, and the rows of the pyramid that stand for them. The
 * partition is exact where every count that a mask allows is 1 and all others are 0.
 */
export function tokensSeen({ list, levels }: Ladder): Uint8Array {
  const length = list.queries;
  const rows = list.counts();
  const seen = new Uint8Array(length * length);
  for (let i = 0; i < length; i++)
    for (const level of levels)
      for (let row = 0; row < level.rows; row++) {
        const count = rows[i * list.keys + level.offset + row]!;
        if (count === 0) continue;
        for (let n = 0; n < tokensOf(level, row, length); n++) seen[i * length + row * level.ratio + n]! += count;
      }
  return seen;
}
