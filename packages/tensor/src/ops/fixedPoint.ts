import { isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import * as e from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type FusedOp, fused, type Meta } from "../op.ts";
import { sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

// The fixed-point residual streams: value = int32 * 2^-s, s = fractionBits. One specification for every backend
// (docs/reversibility.md). Gradients are straight-through in units of the value: a stream's cotangent is the float
// gradient of its dequantised value, so quantise, dequantise and the wrapping sum all pass it on unchanged.

export interface FixedPoint {
  /** Bits after the binary point, 0..30. 20 gives Q12.20: steps of 9.5e-7 up to ±2048. */
  readonly fractionBits: number;
}

/** Refuses another dtype, or fraction bits that are none. */
export function checkFixedPoint(name: string, x: Meta, dtype: "f32" | "i32", { fractionBits }: FixedPoint): void {
  if (x.dtype !== dtype)
    throw new DTypeError(name, `needs ${dtype}, got ${describe(x)}`, `cast it first: x.cast("${dtype}")`);
  if (!Number.isInteger(fractionBits) || fractionBits < 0 || fractionBits > 30) {
    throw new ValueError(name, `fractionBits is ${fractionBits}`, "use an integer from 0 to 30 (20 by default)");
  }
}

/** f32 -> i32: round x·2^s half to even, saturate, NaN -> 0. */
export const quantise: ElementwiseOp<FixedPoint> = elementwise({
  name: "quantise",
  arity: 1,
  entersFixedPoint: true,
  doc: "f32 to fixed point: round(x · 2^s) half to even, saturating, NaN to 0; straight-through gradient",
  meta: ([x], attrs) => {
    checkFixedPoint("quantise", x!, "f32", attrs);
    return [{ shape: x!.shape, dtype: "i32" }];
  },
  body: ([x], { fractionBits }) => e.fixed(e.mul(x!, 2 ** fractionBits)),
  gradient: { saves: () => ({}), vjp: (context) => [context.gradient] },
});

/** i32 -> f32: float32(x)·2^-s. */
export const dequantise: ElementwiseOp<FixedPoint> = elementwise({
  name: "dequantise",
  arity: 1,
  doc: "fixed point to f32: float32(x) · 2^-s; straight-through gradient",
  meta: ([x], attrs) => {
    checkFixedPoint("dequantise", x!, "i32", attrs);
    return [{ shape: x!.shape, dtype: "f32" }];
  },
  body: ([x], { fractionBits }) => e.mul(e.toFloat(x!), 2 ** -fractionBits),
  gradient: { saves: () => ({}), vjp: (context) => [context.gradient] },
});

export interface CouplingStep extends FixedPoint {
  /** 1 adds the increment (forward), -1 takes it away again (inverse). */
  readonly sign: 1 | -1;
}

/** [saturated increments, wrapped sums, NaN increments]. */
export const countsMeta: Meta = { shape: [3], dtype: "i32" };

/** Checks a stream and its increment. */
export function checkStep(name: string, inputs: readonly Meta[], attrs: FixedPoint): void {
  const [x, f] = inputs as [Meta, Meta];
  checkFixedPoint(name, x, "i32", attrs);
  if (!isFloat(f.dtype) || f.dtype === "f64")
    throw new DTypeError(
      name,
      `needs an increment of f32, bf16 or f16, got ${describe(f)}`,
      'cast it first: f.cast("f32")',
    );
  if (!sameShape(x.shape, f.shape)) {
    throw new ShapeError(
      name,
      `stream and increment differ in shape: ${describeAll([x, f])}`,
      "F must return the shape of its input stream",
    );
  }
}

/**
 * x ± quantise(f), modulo 2^32: one half-step of an additive coupling, and its exact inverse with the other sign.
 * Second output: how many increments saturated, how many sums wrapped, how many increments were NaN. May be written
 * over x.
 */
export const fixedPointAdd: FusedOp<CouplingStep> = fused({
  name: "fixedPointAdd",
  arity: 2,
  doc: "x ± quantise(f) modulo 2^32, with counts [saturated, wrapped, NaN]",
  mayAlias: 0,
  meta: (inputs, attrs) => {
    checkStep("fixedPointAdd", inputs, attrs);
    return [inputs[0]!, countsMeta];
  },
  decompose: ([x, given], { fractionBits, sign }) => {
    const f = given!.cast("f32");
    const q = f.quantise(fractionBits);
    const y = sign === 1 ? x!.add(q) : x!.sub(q);
    const bound = 2 ** (31 - fractionBits);
    // The largest value that still rounds below 2^31 is 2^31 - 1 - 0.5 exclusive, which f32 cannot come near.
    const saturated = f.greaterEqual(bound).logicalOr(f.less(-bound));
    const increment = sign === 1 ? q : q.bitwiseNot();
    // A sum wrapped when both operands have one sign and the result the other (x - q is x + ~q + 1).
    const wrapped = x!.bitwiseXor(y).bitwiseAnd(increment.bitwiseXor(y)).less(0);
    const count = (t: Tensor): Tensor => t.cast("i32").sum().reshape([1]);
    return [y, count(saturated).concat([count(wrapped), count(f.isNaN())], 0)];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradients: [g], inputs }, { sign }) => [g, (sign === 1 ? g : g?.neg())?.cast(inputs[1]!.dtype)],
  },
});
