import { type DType, dtypes } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import * as e from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type FusedOp, fused, type Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import { countsMeta } from "./fixedPoint.ts";

// Narrow fixed-point streams: value = integer / scale, one scale for all elements or one a channel (the last axis). Scales
// are powers of two, so that products with them are exact. The specification is that of fixedPoint.ts with another range:
// half to even, saturating, NaN to 0; sums wrap; gradients are straight-through in units of the value.

/** Types of narrow streams. */
export type NarrowDType = "i16" | "i8";

export interface ChannelFixedPoint {
  readonly dtype: NarrowDType;
}

const isNarrow = (d: DType): d is NarrowDType => d === "i16" || d === "i8";

function checkScale(name: string, inputs: readonly Meta[]): void {
  const [x, scale] = [inputs[0]!, inputs[inputs.length - 1]!];
  const channels = x.shape[x.shape.length - 1];
  const fits = scale.shape.length === 0 || (scale.shape.length === 1 && scale.shape[0] === channels);
  if (fits && scale.dtype === "f32") return;
  throw new ShapeError(
    name,
    `the scale is ${describe(scale)}, the stream ${describe(x)}`,
    `give powers of two in f32, one or a channel: [] or [${channels ?? 1}]`,
  );
}

/** f32, scale -> i16 or i8. */
export const quantiseChannels: ElementwiseOp<ChannelFixedPoint> = elementwise({
  name: "quantiseChannels",
  arity: 2,
  entersFixedPoint: true,
  doc: "f32 to narrow fixed point: round(x · scale) half to even, saturating, NaN to 0; straight-through gradient",
  meta: (inputs, { dtype }) => {
    const [x] = inputs as [Meta, Meta];
    if (x.dtype !== "f32" || !isNarrow(dtype)) {
      throw new DTypeError(
        "quantiseChannels",
        `takes f32 to i16 or i8, got ${describe(x)} to ${dtype}`,
        'x.cast("f32")',
      );
    }
    checkScale("quantiseChannels", inputs);
    return [{ shape: x.shape, dtype }];
  },
  body: ([x, scale], { dtype }) => {
    const [low, high] = dtypes[dtype].range!;
    return e.min(e.max(e.fixed(e.mul(x!, scale!)), low), high);
  },
  gradient: { saves: () => ({}), vjp: (context) => [context.gradient] },
});

/** i16 or i8, scale -> f32. */
export const dequantiseChannels: ElementwiseOp = elementwise({
  name: "dequantiseChannels",
  arity: 2,
  doc: "narrow fixed point to f32: x / scale; straight-through gradient",
  meta: (inputs) => {
    const [x] = inputs as [Meta, Meta];
    if (!isNarrow(x.dtype))
      throw new DTypeError("dequantiseChannels", `needs i16 or i8, got ${describe(x)}`, "x.dequantise(s) is for i32");
    checkScale("dequantiseChannels", inputs);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  body: ([x, scale]) => e.div(e.toFloat(x!), scale!),
  gradient: { saves: () => ({}), vjp: (context) => [context.gradient] },
});

export interface ChannelStep {
  /** 1 adds the increment (forward), -1 takes it away again (inverse). */
  readonly sign: 1 | -1;
}

/**
 * x ± quantiseChannels(f, scale), modulo 2^16 or 2^8: the coupling step of narrow streams. Inputs: stream, increment, scale.
 * Second output: how many increments saturated, how many sums wrapped, how many increments were NaN. May be written over x.
 */
export const channelFixedPointAdd: FusedOp<ChannelStep> = fused({
  name: "channelFixedPointAdd",
  arity: 3,
  doc: "x ± quantiseChannels(f, scale) modulo the stream's range, with counts [saturated, wrapped, NaN]",
  mayAlias: 0,
  meta: (inputs) => {
    const [x, f] = inputs as [Meta, Meta, Meta];
    if (!isNarrow(x.dtype) || f.dtype !== "f32") {
      throw new DTypeError(
        "channelFixedPointAdd",
        `needs a stream of i16 or i8 and an increment of f32, got ${describeAll([x, f])}`,
        "enter the stream with quantiseChannels; i32 streams have fixedPointAdd",
      );
    }
    if (!sameShape(x.shape, f.shape)) {
      throw new ShapeError(
        "channelFixedPointAdd",
        `stream and increment differ in shape: ${describeAll([x, f])}`,
        "F must return the shape of its input stream",
      );
    }
    checkScale("channelFixedPointAdd", inputs);
    return [x, countsMeta];
  },
  flops: ([x]) => 3 * numel(x!.shape),
  decompose: ([x, f, scale], { sign }) => {
    const [low, high] = dtypes[x!.dtype].range!;
    const wide = f!.mul(scale!).quantise(0);
    const q = wide.cast(x!.dtype);
    const y = sign === 1 ? x!.add(q) : x!.sub(q);
    const saturated = wide.greater(high).logicalOr(wide.less(low));
    const [a, b] = [x!.cast("i32"), q.cast("i32")];
    const wrapped = (sign === 1 ? a.add(b) : a.sub(b)).notEqual(y.cast("i32"));
    const count = (t: typeof f): typeof f => t!.cast("i32").sum().reshape([1]);
    return [y, count(saturated)!.concat([count(wrapped)!, count(f!.isNaN())!], 0)];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradients: [g] }, { sign }) => [g, sign === 1 ? g : g?.neg()],
  },
});
