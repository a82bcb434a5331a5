import { DTypeError, describeAll, ValueError } from "../errors.ts";
import * as e from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type FusedOp, fused, type Meta, type PrimitiveOp, primitive } from "../op.ts";
import { checkKey, type Key } from "../rng.ts";
import { checkShape, type Shape } from "../shape.ts";
import { broadcastAll } from "./derive.ts";

// Every random number starts as words of the counter-based generator (rng.ts): same key, same bits, on every backend.

export interface RandomBits {
  readonly shape: Shape;
  readonly key: Key;
}

export const randomBits: PrimitiveOp<RandomBits> = primitive({
  name: "randomBits",
  arity: 0,
  doc: "words of Philox4x32-10: element i is word i of the key's stream",
  meta: (_, { shape, key }) => {
    checkShape("randomBits", shape);
    checkKey("randomBits", key);
    return [{ shape, dtype: "i32" }];
  },
  flops: (_, [y]) => 25 * y!.shape.reduce((a, b) => a * b, 1),
  gradient: "none",
});

const words =
  (name: string) =>
  (inputs: readonly Meta[]): readonly Meta[] => {
    if (inputs.some((x) => x.dtype !== "i32"))
      throw new DTypeError(name, `needs random words (i32), got ${describeAll(inputs)}`, "draw them with randomWords");
    return [{ shape: broadcastAll(name, inputs), dtype: "f32" }];
  };

/** Uniform numbers in [0, 1) from random words: the top 24 bits times 2^-24. Exact on every backend. */
export const bitsToUniform: ElementwiseOp = elementwise({
  name: "bitsToUniform",
  arity: 1,
  doc: "random words to [0, 1): top 24 bits times 2^-24",
  meta: words("bitsToUniform"),
  body: ([x]) => e.mul(e.toFloat(e.shiftRightLogical(x!, 8)), 2 ** -24),
  gradient: "none",
});

/** Standard normal numbers from two random words each. Source: Box & Muller 1958. */
export const bitsToNormal: ElementwiseOp = elementwise({
  name: "bitsToNormal",
  arity: 2,
  doc: "two random words to one standard normal number (Box-Muller)",
  meta: words("bitsToNormal"),
  body: ([a, b]) => {
    const uniform = (x: e.Expr, shift: number): e.Expr =>
      e.mul(e.add(e.toFloat(e.shiftRightLogical(x, 8)), shift), 2 ** -24);
    // The radius uses (0, 1]: its logarithm is finite.
    const radius = e.sqrt(e.mul(-2, e.log(uniform(a!, 1))));
    return e.mul(radius, e.cos(e.mul(2 * Math.PI, uniform(b!, 0))));
  },
  gradient: "none",
});

export interface DropoutAttrs {
  /** Probability of an element being zeroed, in [0, 1). */
  readonly p: number;
  readonly key: Key;
}

/**
 * Zeroes elements with probability p and scales the rest by 1 / (1 - p). The mask is a function of key and element
 * index alone: it is never stored, and backward draws it again.
 * Source: Srivastava et al. 2014.
 */
export const dropout: FusedOp<DropoutAttrs> = fused({
  name: "dropout",
  arity: 1,
  doc: "x or 0 by a keyed mask, scaled by 1 / (1 - p)",
  meta: ([x], { p, key }) => {
    checkKey("dropout", key);
    if (!(p >= 0 && p < 1)) throw new ValueError("dropout", `p is ${p}`, "use a probability in [0, 1)");
    return [x!];
  },
  decompose: ([x], { p, key }) => {
    const bits = x!.apply(randomBits, [], { shape: x!.shape, key });
    // In words, not floats: keep where the top 24 bits reach p * 2^24.
    const keep = bits.apply(bitsToUniform, [bits], undefined).greaterEqual(Math.ceil(p * 2 ** 24) * 2 ** -24);
    return [keep.where(x!.mul(1 / (1 - p)), 0)];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient }, attrs) => [gradient.apply(dropout, [gradient], attrs)],
  },
});
