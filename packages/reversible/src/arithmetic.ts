import type { Norm } from "@revnet-zero/nn";
import { DTypeError, describe, dispatch, ops, type Tensor } from "@revnet-zero/tensor";

export interface StreamSum {
  readonly stream: Tensor;
  readonly normalised?: Tensor | undefined;
  /** [saturated, wrapped, NaN] of the addition (i32). */
  readonly counts?: Tensor;
}

/**
 * How a residual stream is kept between half-steps. `add` and `remove` give up their stream: the buffer is written
 * over when nobody else holds it, so a whole network runs in one pair of streams.
 */
export interface StreamArithmetic {
  /** Whether `remove` undoes `add` bit for bit. */
  readonly isExact: boolean;
  /** A float tensor as a stream. */
  enter(x: Tensor): Tensor;
  /** A stream as the float tensor that branches read. */
  read(stream: Tensor): Tensor;
  /** The stream with the increment added; with a norm, also that of the new stream's value, from the same pass. */
  add(stream: Tensor, increment: Tensor, norm?: Norm): StreamSum;
  remove(stream: Tensor, increment: Tensor): Tensor;
}

/**
 * int32 fixed point with a wrapping sum: (Z mod 2^32, +) is a group, so every half-step is a bijection whatever the
 * branch computes, overflow included.
 */
export function fixedPointArithmetic(fractionBits: number): StreamArithmetic {
  const step = (stream: Tensor, increment: Tensor, sign: 1 | -1, norm?: Norm): StreamSum => {
    const f = increment.cast("f32");
    const { engine } = stream;
    const attrs = { fractionBits, sign };
    const outputs =
      norm === undefined
        ? dispatch(engine, ops.fixedPointAdd, [stream, f], attrs, donating)
        : dispatch(engine, ops.fixedPointAddNorm, [stream, f, ...norm.operands], { ...attrs, eps: norm.eps }, donating);
    if (f !== increment) f.dispose();
    stream.dispose();
    return { stream: outputs[0]!, counts: outputs[outputs.length - 1]!, normalised: norm && outputs[1]! };
  };
  return {
    isExact: true,
    enter: (x) => (x.dtype === "i32" ? x.detach() : x.cast("f32").quantise(fractionBits)),
    read: (stream) => stream.dequantise(fractionBits),
    add: (stream, increment, norm) => step(stream, increment, 1, norm),
    remove: (stream, increment) => {
      const { stream: difference, counts } = step(stream, increment, -1);
      counts!.dispose();
      return difference;
    },
  };
}

const donating = { donates: true };

/** The tensor, if it is a float one: a grid's whole numbers are not its values. */
export function refuseFixedPoint(x: Tensor): Tensor {
  if (x.dtype !== "i32") return x;
  throw new DTypeError(
    "reversible",
    `float streams cannot take the fixed-point tensor ${describe(x)}`,
    "dequantise it first, or use mode exact",
  );
}

/** Ordinary f32 streams: `remove` undoes `add` up to rounding, and the difference drifts with depth. */
export const floatArithmetic: StreamArithmetic = {
  isExact: false,
  enter: (x) => {
    return refuseFixedPoint(x).cast("f32").detach();
  },
  read: (stream) => stream.detach(),
  add: (stream, increment, norm) => {
    const f = increment.cast("f32");
    const { engine } = stream;
    const [sum, normalised] =
      norm === undefined
        ? dispatch(engine, ops.add, [stream, f], undefined, donating)
        : dispatch(engine, ops.addNorm, [stream, f, ...norm.operands], { eps: norm.eps }, donating);
    stream.dispose();
    return { stream: sum!, normalised };
  },
  remove: (stream, increment) => {
    const [difference] = dispatch(stream.engine, ops.sub, [stream, increment.cast("f32")], undefined, donating);
    stream.dispose();
    return difference!;
  },
};
