import { isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import * as e from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type FusedOp, fused, type Meta } from "../op.ts";
import { sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { overwrite } from "./move.ts";

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

export interface CountingStep extends CouplingStep {
  /**
   * The row of the last operand, an i32 record [rows, 3], that what happened is added to, in place: saturated increments, wrapped sums, NaN
   * increments. Left out: there is no record, and nothing is counted.
   */
  readonly row?: number;
}

/** [saturated increments, wrapped sums, NaN increments]. */
export const countsMeta: Meta = { shape: [3], dtype: "i32" };

/** The operands of a step without the record that it counts in, and that record. */
export function splitRecord<T extends Meta>(
  name: string,
  inputs: readonly T[],
  { row }: CountingStep,
): { readonly operands: readonly T[]; readonly record: T | undefined } {
  if (row === undefined) return { operands: inputs, record: undefined };
  const record = inputs.at(-1);
  const isRow = (n: number): boolean => Number.isInteger(row) && row >= 0 && row < n;
  if (record?.dtype !== "i32" || record.shape.length !== 2 || record.shape[1] !== 3 || !isRow(record.shape[0]!))
    throw new ShapeError(
      name,
      `row ${row} to count in is not one of ${record === undefined ? "nothing" : describe(record)}`,
      "give the record [rows, 3] of i32 as the last operand, or leave row out",
    );
  return { operands: inputs.slice(0, -1), record };
}

/** Counts [3] added to the row of a record [rows, 3], in place. */
export const addToRow = (record: Tensor, row: number, counts: Tensor): Tensor =>
  record.apply(overwrite, [record, record.narrow(0, row, 1).add(counts.reshape([1, 3]))], { starts: [row, 0] });

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
 * x ± quantise(f), modulo 2^32: one half-step of an additive coupling, and its exact inverse with the other sign. With `row` the third
 * operand is the record that it counts in, and the second output. May be written over x.
 */
export const fixedPointAdd: FusedOp<CountingStep> = fused({
  name: "fixedPointAdd",
  arity: "variadic",
  doc: "x ± quantise(f) modulo 2^32; [saturated, wrapped, NaN] added to a row of a record",
  mayAlias: 0,
  mutates: (inputs, { row }) => (row === undefined ? [] : [undefined, inputs.length - 1]),
  meta: (inputs, attrs) => {
    const { operands, record } = splitRecord("fixedPointAdd", inputs, attrs);
    if (operands.length !== 2)
      throw new ValueError(
        "fixedPointAdd",
        `takes a stream and an increment, got ${operands.length} operands`,
        "and, with row, the record to count in",
      );
    checkStep("fixedPointAdd", operands, attrs);
    return [inputs[0]!, ...(record === undefined ? [] : [record])];
  },
  decompose: ([x, given, record], { fractionBits, sign, row }) => {
    const f = given!.cast("f32");
    const q = f.quantise(fractionBits);
    const y = sign === 1 ? x!.add(q) : x!.sub(q);
    if (row === undefined) return [y];
    const bound = 2 ** (31 - fractionBits);
    // The largest value that still rounds below 2^31 is 2^31 - 1 - 0.5 exclusive, which f32 cannot come near.
    const saturated = f.greaterEqual(bound).logicalOr(f.less(-bound));
    const increment = sign === 1 ? q : q.bitwiseNot();
    // A sum wrapped when both operands have one sign and the result the other (x - q is x + ~q + 1).
    const wrapped = x!.bitwiseXor(y).bitwiseAnd(increment.bitwiseXor(y)).less(0);
    const count = (t: Tensor): Tensor => t.cast("i32").sum().reshape([1]);
    return [y, addToRow(record!, row, count(saturated).concat([count(wrapped), count(f.isNaN())], 0))];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradients: [g], inputs }, { sign }) => [g, (sign === 1 ? g : g?.neg())?.cast(inputs[1]!.dtype)],
  },
});
