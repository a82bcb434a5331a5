import { type DType, type Engine, fromWords, full, ops, statisticsType, type Tensor } from "@revnet-zero/tensor";
import { type Ladder, type Level, tokensOf } from "./ladder.ts";

/** Keys and values of all levels, row after row: `[b, hk, rows, d]` and `[b, hk, rows, e]`. */
export interface Pyramid {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** How summaries are made. */
export interface Pooling {
  /** All levels of a sequence's keys and values `[b, hk, t, ·]`. */
  pyramid(k: Tensor, v: Tensor, ladder: Ladder): Pyramid;
  /** Of `radix` rows of the level before: keys and values `[b, hk, groups, radix, d]` -> `[b, hk, groups, d]`. */
  pool(keys: Tensor, values: Tensor, group: GroupSizes): readonly [Tensor, Tensor];
}

export interface GroupSizes {
  /** Tokens of each row `[groups, radix, 1]`, 0 where there is none; undefined where all rows stand for as many. */
  readonly counts: Tensor | undefined;
  readonly radix: number;
}

/** The mean of the tokens. */
export const meanPooling: Pooling = {
  pyramid: (k, v, { radices, isWhole }) => {
    const [keys, values] = [k, v].map((x) => x.apply(ops.pyramid, [x], { radices, isWhole }));
    return { keys: keys!, values: values! };
  },
  pool: (keys, values, { radix }) => [keys.sum(3).mul(1 / radix), values.sum(3).mul(1 / radix)],
};

/** The pyramid of a sequence's keys and values `[b, hk, t, ·]`. */
export function buildPyramid(k: Tensor, v: Tensor, ladder: Ladder, pooling: Pooling): Pyramid {
  return k.engine.scope(() => pooling.pyramid(k, v, ladder), "pyramid");
}

/** A pyramid level by level, as `pool` makes them. */
export function poolLevels(k: Tensor, v: Tensor, { levels }: Ladder, pool: Pooling["pool"]): Pyramid {
  const length = k.shape[2]!;
  const [keys, values] = [[k], [v]];
  for (const [l, level] of levels.entries()) {
    if (l === 0) continue;
    const [before, after] = [levels[l - 1]!, level];
    const grouped = [keys[l - 1]!, values[l - 1]!].map((x) => inGroups(x, after)) as [Tensor, Tensor];
    const counts = countsOf(k, before, after, length);
    const [pooledKeys, pooledValues] = pool(...grouped, { counts, radix: after.radix });
    // Parameters that pool may be of a wider type, under autocast.
    keys.push(pooledKeys.cast(k.dtype));
    values.push(pooledValues.cast(v.dtype));
  }
  const together = ([first, ...rest]: readonly Tensor[]): Tensor =>
    rest.length === 0 ? first! : first!.concat(rest, 2);
  return { keys: together(keys), values: together(values) };
}

/** [b, hk, n, d] -> [b, hk, rows, radix, d]: rows past the last group go, rows that are missing in it are zeros. */
function inGroups(x: Tensor, { rows, radix }: Level): Tensor {
  const [b, hk, n, d] = x.shape as readonly number[] as [number, number, number, number];
  const missing = rows * radix - n;
  const none = [0, 0] as const;
  const fitting =
    missing > 0 ? x.pad([none, none, [0, missing], none]) : missing < 0 ? x.narrow(2, 0, rows * radix) : x;
  return fitting.reshape([b, hk, rows, radix, d]);
}

function countsOf(like: Tensor, before: Level, { rows, radix, ratio }: Level, length: number): Tensor | undefined {
  if (rows * ratio <= length) return undefined;
  const counts = Array.from({ length: rows * radix }, (_, i) => Math.max(0, tokensOf(before, i, length)));
  return numbers(counts, [rows, radix, 1], like);
}

/** Known numbers as a tensor. */
export const numbers = (
  values: Iterable<number>,
  shape: readonly number[],
  { engine, dtype }: { readonly engine: Engine; readonly dtype: DType },
): Tensor =>
  dtype === "f64"
    ? fromWords(Float64Array.from(values), shape, "f64", engine)
    : fromWords(Float32Array.from(values), shape, "f32", engine).cast(dtype);

/**
 * log of the tokens that each row of the pyramid stands for, `[1, 1, rows]`: a summary of m tokens weighs as m tokens. In the type that scores are
 * summed in: rounded to bfloat16, log 256 would weigh as 260 tokens.
 */
export function logCounts(like: Tensor, { levels, rows }: Ladder, length: number): Tensor {
  const logs = new Float64Array(rows);
  for (const { ratio, rows: count, offset } of levels) logs.fill(Math.log(ratio), offset, offset + count);
  for (const level of levels)
    if (level.rows > 0) logs[level.offset + level.rows - 1] = Math.log(tokensOf(level, level.rows - 1, length));
  return numbers(logs, [1, 1, rows], inScores(like));
}

/** Where scores of queries like these are summed: log counts are added there. */
export const inScores = ({ engine, dtype }: Tensor): { readonly engine: Engine; readonly dtype: DType } => ({
  engine,
  dtype: statisticsType(dtype),
});

/** The level of each row, `[rows]` i32. */
export function levelNumbers(like: Tensor, { levels }: Ladder): Tensor {
  const parts = levels.map(({ rows }, l) => full([rows], l, { dtype: "i32", engine: like.engine }));
  return parts[0]!.concat(parts.slice(1));
}
