import { isFloat, statisticsType } from "../dtype.ts";
import { DTypeError, describe, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface PyramidAttrs {
  /** Rows of the level before that a row of each further level stands for. */
  readonly radices: readonly number[];
  /** Leave out a last row that would stand for fewer tokens than its level's others. */
  readonly isWhole: boolean;
}

/** One level of a pyramid. Level 0 is the tokens themselves. */
export interface PyramidLevel {
  /** Tokens of a row. */
  readonly ratio: number;
  /** Rows of the level before that one is made of; 1 for level 0. */
  readonly radix: number;
  /** Rows there are. */
  readonly rows: number;
  /** Where they begin in the rows of all levels. */
  readonly offset: number;
}

/** The levels over so many tokens, level 0 first. */
export function pyramidLevels(length: number, { radices, isWhole }: PyramidAttrs): PyramidLevel[] {
  const levels: PyramidLevel[] = [];
  let [ratio, offset] = [1, 0];
  for (const radix of [1, ...radices]) {
    ratio *= radix;
    const rows = (isWhole ? Math.floor : Math.ceil)(length / ratio);
    levels.push({ ratio, radix, rows, offset });
    offset += rows;
  }
  return levels;
}

function check(name: string, x: Meta, { radices }: PyramidAttrs): void {
  if (x.shape.length !== 4)
    throw new ShapeError(name, `needs [batch, heads, time, dim], got ${describe(x)}`, "reshape to four axes");
  if (!isFloat(x.dtype)) throw new DTypeError(name, `needs a float tensor, got ${describe(x)}`, 'x.cast("f32")');
  if (radices.every((r) => Number.isInteger(r) && r > 1)) return;
  throw new ValueError(name, `radices are [${radices.join(", ")}]`, "use whole numbers above 1, such as [4, 4, 4]");
}

/** What each row of the level before weighs in its group, [rows, radix, 1]; undefined where all weigh 1 / radix. */
function weightsOf(like: Tensor, length: number, before: PyramidLevel, level: PyramidLevel): Tensor | undefined {
  const { rows, radix, ratio } = level;
  if (rows * ratio <= length) return undefined;
  const firstOf = like.rangeOf(rows * radix, "i32").mul(before.ratio);
  const tokens = firstOf.neg().add(length).maximum(0).minimum(before.ratio).cast(like.dtype).reshape([rows, radix, 1]);
  return tokens.div(tokens.sum(1, { keepDims: true }));
}

/** So many rows of x [b, h, n, d]: without those at the end, or with rows of zeros behind. */
function rowsOf(x: Tensor, rows: number): Tensor {
  const missing = rows - x.shape[2]!;
  const none = [0, 0] as const;
  return missing > 0 ? x.pad([none, none, [0, missing], none]) : missing < 0 ? x.narrow(2, 0, rows) : x;
}

const wide = (x: Tensor): Tensor => x.cast(statisticsType(x.dtype));

/**
 * Means of neighbouring rows, of rows of those, and so on: x `[b, h, t, d]` -> `[b, h, rows of all levels, d]`, the rows of x first. A row of a level is the
 * mean of the tokens that it stands for, by way of the level before; a mean of 16-bit floats is summed in float32 and rounded once a level.
 */
export const pyramid: FusedOp<PyramidAttrs> = fused({
  name: "pyramid",
  arity: 1,
  doc: "means of neighbouring rows over axis 2, of those means, and so on, behind the rows themselves",
  meta: ([x], attrs) => {
    check("pyramid", x!, attrs);
    const [b, h, t, d] = x!.shape as [number, number, number, number];
    const rows = pyramidLevels(t, attrs).reduce((n, level) => n + level.rows, 0);
    return [{ shape: [b, h, rows, d], dtype: x!.dtype }];
  },
  flops: ([x]) => 2 * numel(x!.shape),
  decompose: ([given], attrs) => {
    const x = given!;
    const [b, h, t, d] = x.shape as readonly number[] as [number, number, number, number];
    const levels = pyramidLevels(t, attrs);
    const parts = [x];
    for (const [l, level] of levels.entries()) {
      if (l === 0) continue;
      const { rows, radix } = level;
      const groups = wide(rowsOf(parts[l - 1]!, rows * radix)).reshape([b, h, rows, radix, d]);
      const weights = weightsOf(groups, t, levels[l - 1]!, level);
      const means = weights === undefined ? groups.sum(3).mul(1 / radix) : groups.mul(weights).sum(3);
      parts.push(means.cast(x.dtype));
    }
    return [x.concat(parts.slice(1), 2)];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient, inputs: [x] }, attrs) => [
      gradient.apply(pyramidGradient, [gradient], { ...attrs, length: x!.shape[2]! }),
    ],
  },
});

export interface PyramidGradientAttrs extends PyramidAttrs {
  /** Rows of level 0. */
  readonly length: number;
}

/** The transpose of `pyramid`: a token's own row, and of every row that stands for it the share that it has in the mean. */
export const pyramidGradient: FusedOp<PyramidGradientAttrs> = fused({
  name: "pyramidGradient",
  arity: 1,
  doc: "the transpose of pyramid: every row of its levels shared out to the rows it is the mean of",
  meta: ([g], attrs) => {
    check("pyramidGradient", g!, attrs);
    if (!Number.isInteger(attrs.length) || attrs.length < 0)
      throw new ValueError("pyramidGradient", `length is ${attrs.length}`, "use the rows of level 0");
    const rows = pyramidLevels(attrs.length, attrs).reduce((n, level) => n + level.rows, 0);
    const [b, h, n, d] = g!.shape as [number, number, number, number];
    if (n === rows) return [{ shape: [b, h, attrs.length, d], dtype: g!.dtype }];
    throw new ShapeError(
      "pyramidGradient",
      `${describe(g!)} is not of a pyramid of ${rows} rows, over ${attrs.length}`,
      "give the attributes that the pyramid was made with",
    );
  },
  flops: ([g]) => 2 * numel(g!.shape),
  decompose: ([given], attrs) => {
    const g = given!;
    const [b, h, , d] = g.shape as readonly number[] as [number, number, number, number];
    const levels = pyramidLevels(attrs.length, attrs);
    const own = ({ offset, rows }: PyramidLevel): Tensor => wide(g.narrow(2, offset, rows));
    let sums = own(levels[levels.length - 1]!);
    for (let l = levels.length - 1; l > 0; l--) {
      const [before, level] = [levels[l - 1]!, levels[l]!];
      const { rows, radix } = level;
      const weights = weightsOf(sums, attrs.length, before, level);
      const shares = sums.unsqueeze(3).mul(weights ?? 1 / radix);
      const spread = shares.expand([b, h, rows, radix, d]).reshape([b, h, rows * radix, d]);
      sums = own(before).add(rowsOf(spread, before.rows));
    }
    return [sums.cast(g.dtype)];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient }, { radices, isWhole }) => [gradient.apply(pyramid, [gradient], { radices, isWhole })],
  },
});
