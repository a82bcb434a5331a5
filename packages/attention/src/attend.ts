import {
  type AttentionBias,
  arange,
  describe,
  ops,
  ShapeError,
  statisticsType,
  type Tensor,
  ValueError,
} from "@revnet-zero/tensor";
import { maskList } from "./patterns.ts";
import type { TileList } from "./tileList.ts";

/** A number added to every score. */
export interface ScoreBias {
  /**
   * By key `[1|b, 1|h, s]` (ALiBi is one); by the distance key - query `[1|b, 1|h, t + s - 1]`, entry t - 1 being distance 0 (T5's is one); or by
   * pair `[1|b, 1|h, t, s]`, whose size is the square that the others avoid.
   */
  readonly kind: AttentionBias;
  /** Added in float32 (or float64), whatever the queries' type, and whether autocast is on or not. */
  readonly values: Tensor;
}

export interface AttendOptions {
  /** Default 1 / sqrt(dim). */
  readonly scale?: number;
  readonly bias?: ScoreBias;
}

export interface TiledAttentionOptions extends AttendOptions {
  /** Query i sees keys up to i + (keys - queries). Default false. */
  readonly isCausal?: boolean;
  /** With a causal mask: how many keys a query sees, its own included. */
  readonly window?: number;
  /** Keys of each sequence of the batch that are there; those behind are padding, which nobody sees. */
  readonly keyLengths?: readonly number[];
  /** Rotary positions on queries and keys, the keys counted from 0 and the last query at the last key; true: base 10000. */
  readonly rotary?: number | boolean;
}

/** Attention's output, and the log-sum-exp `[b, h, t]` of its scores, by which outputs over parts of the keys can be joined. */
export interface Attended {
  readonly output: Tensor;
  readonly lse: Tensor;
}

/**
 * Exact softmax attention q `[b, h, t, d]`, k `[b, hk, s, d]`, v `[b, hk, s, e]` -> `[b, h, t, e]`, a tile of scores at a time: memory is
 * linear in the sequence, forward and backward, and bits do not depend on threads. Query head i uses key head floor(i · hk / h).
 * Source: Dao et al. 2022 (arXiv:2205.14135).
 */
export function tiledAttention(q: Tensor, k: Tensor, v: Tensor, options: TiledAttentionOptions = {}): Tensor {
  const { isCausal = false, window, keyLengths, bias, rotary = false } = options;
  return q.engine.scope(() => {
    const base = rotary === true ? 10000 : rotary;
    const [queries, keys] = base === false ? [q, k] : turned(q, k, base);
    const scale = options.scale ?? 1 / Math.sqrt(q.shape[q.rank - 1] ?? 1);
    if (keyLengths === undefined && bias === undefined)
      return queries.attention(keys, v, { scale, isCausal, ...(window === undefined ? {} : { window }) });
    const [t, s] = [timeOf("tiledAttention", q), timeOf("tiledAttention", k)];
    if (keyLengths !== undefined && keyLengths.length !== q.shape[0])
      throw new ValueError(
        "tiledAttention",
        `${keyLengths.length} keyLengths for a batch of ${q.shape[0]}`,
        "give one a sequence",
      );
    if (window !== undefined && !isCausal)
      throw new ValueError("tiledAttention", `window is ${window} with isCausal false`, "a window needs a causal mask");
    const list = maskList({ queries: t, keys: s, isCausal, window, keyLengths });
    return sparseAttention(queries, keys, v, list, { scale, ...(bias === undefined ? {} : { bias }) }).output;
  }, "tiledAttention");
}

/** Softmax attention to the keys of a list. A query that the list shows nothing gets zeros and a log-sum-exp of -inf. */
export function sparseAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  list: TileList,
  options: AttendOptions = {},
): Attended {
  const { scale = 1 / Math.sqrt(q.shape[q.rank - 1] ?? 1), bias } = options;
  const [t, s] = [timeOf("sparseAttention", q), timeOf("sparseAttention", k)];
  if (list.queries !== t || list.keys !== s) {
    throw new ShapeError(
      "sparseAttention",
      `the list is for ${list.queries} queries and ${list.keys} keys, q is ${describe(q)}, k ${describe(k)}`,
      "make the list for these lengths",
    );
  }
  const { blockSize, mostKeys } = list;
  return q.engine.scope(() => {
    const added = bias === undefined ? [] : [biasInRows(bias).cast(statisticsType(q.dtype))];
    const attrs = { scale, blockSize, mostKeys, ...(bias === undefined ? {} : { bias: bias.kind }) };
    const [output, lse] = q.applyAll(ops.sparseAttention, [q, k, v, list.on(q.engine), ...added], attrs);
    return { output: output!, lse: lse! };
  });
}

/** As the op reads it: a "full" one is [b, h, t · s]. */
function biasInRows({ kind, values }: ScoreBias): Tensor {
  if (kind !== "full") return values;
  const [b, h, t, s] = values.shape as readonly number[] as [number, number, number, number];
  if (values.rank === 4) return values.reshape([b, h, t * s]);
  throw new ShapeError("sparseAttention", `a "full" bias is ${describe(values)}`, "give [1 or b, 1 or h, t, s]");
}

function timeOf(op: string, x: Tensor): number {
  if (x.rank === 4) return x.shape[2]!;
  throw new ShapeError(
    op,
    `needs [batch, heads, time, dim], got ${describe(x)}`,
    "split the heads: x.reshape([b, t, h, d]).permute([0, 2, 1, 3])",
  );
}

/** Rotary positions, the last query at the last key. */
function turned(q: Tensor, k: Tensor, base: number): [Tensor, Tensor] {
  const [t, s] = [timeOf("tiledAttention", q), timeOf("tiledAttention", k)];
  const places = arange(s, { engine: q.engine });
  const own = t === s ? places : arange(t, { start: s - t, engine: q.engine });
  return [q.rope(own, base), k.rope(places, base)];
}
