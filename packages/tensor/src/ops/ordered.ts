import { DTypeError, describe } from "../errors.ts";
import * as e from "../expr/expr.ts";
import type { ElementwiseOp, Meta } from "../op.ts";
import { flat } from "./derive.ts";

// The float32 numbers by rank: neighbours in value are neighbours in number, -0 is -1 and 0 is 0. The difference of two
// ranks (modulo 2^32) is their distance in units in the last place, and adding it again is exact.

/** Keeps the words of numbers that are not negative, and mirrors those of the others. An involution. */
const mirrored = (word: e.Expr): e.Expr => e.xor(word, e.and(e.shiftRight(word, 31), 0x7fffffff));

const convert =
  (name: string, from: "f32" | "i32", to: "f32" | "i32") =>
  ([x]: readonly Meta[]): readonly Meta[] => {
    if (x!.dtype === from) return [{ shape: x!.shape, dtype: to }];
    throw new DTypeError(name, `needs ${from}, got ${describe(x!)}`, `cast it first: x.cast("${from}")`);
  };

export const toOrdered: ElementwiseOp = flat({
  name: "toOrdered",
  arity: 1,
  doc: "the rank of a float32 among all float32 numbers, an i32; NaN lies beyond the infinities",
  meta: convert("toOrdered", "f32", "i32"),
  body: ([x]) => mirrored(e.bits(x!)),
});

export const fromOrdered: ElementwiseOp = flat({
  name: "fromOrdered",
  arity: 1,
  doc: "the float32 of a rank",
  meta: convert("fromOrdered", "i32", "f32"),
  body: ([k]) => e.fromBits(mirrored(k!)),
});
