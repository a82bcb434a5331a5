import { DTypeError, describe, dispatch, ops, type Tensor } from "@revnet-zero/tensor";

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
  /** The stream with the increment added, and the counts [saturated, wrapped, NaN] of the addition (i32). */
  add(stream: Tensor, increment: Tensor): { readonly stream: Tensor; readonly counts?: Tensor };
  remove(stream: Tensor, increment: Tensor): Tensor;
}

/**
 * int32 fixed point with a wrapping sum: (Z mod 2^32, +) is a group, so every half-step is a bijection whatever the
 * branch computes, overflow included.
 */
export function fixedPointArithmetic(fractionBits: number): StreamArithmetic {
  const step = (stream: Tensor, increment: Tensor, sign: 1 | -1): Tensor[] => {
    const f = increment.cast("f32");
    const outputs = dispatch(stream.engine, ops.fixedPointAdd, [stream, f], { fractionBits, sign }, { donates: true });
    if (f !== increment) f.dispose();
    stream.dispose();
    return outputs;
  };
  return {
    isExact: true,
    enter: (x) => (x.dtype === "i32" ? x.detach() : x.cast("f32").quantise(fractionBits)),
    read: (stream) => stream.dequantise(fractionBits),
    add: (stream, increment) => {
      const [sum, counts] = step(stream, increment, 1);
      return { stream: sum!, counts: counts! };
    },
    remove: (stream, increment) => {
      const [difference, counts] = step(stream, increment, -1);
      counts!.dispose();
      return difference!;
    },
  };
}

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
  add: (stream, increment) => {
    const sum = dispatch(stream.engine, ops.add, [stream, increment.cast("f32")], undefined, { donates: true })[0]!;
    stream.dispose();
    return { stream: sum };
  },
  remove: (stream, increment) => {
    const difference = dispatch(stream.engine, ops.sub, [stream, increment.cast("f32")], undefined, {
      donates: true,
    })[0]!;
    stream.dispose();
    return difference;
  },
};
