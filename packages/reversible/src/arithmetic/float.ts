import { normAttrs } from "@revnet-zero/nn";
import { DTypeError, describe, dispatch, isFloat, ops, type Tensor } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic.ts";
import { combineRecorded, combineTerms, opposite } from "./linear.ts";

const donating = { donates: true };

/** The tensor, if it is a float one: a grid's whole numbers are not its values. */
export function refuseFixedPoint(x: Tensor): Tensor {
  if (isFloat(x.dtype)) return x;
  throw new DTypeError(
    "reversible",
    `float streams cannot take the fixed-point tensor ${describe(x)}`,
    "dequantise it first, or use mode exact",
  );
}

/** times · f in f32, as a tensor of its own where it differs from f. */
function multiple(f: Tensor, times: number): Tensor {
  const x = f.cast("f32");
  return times === 1 ? x : x.mul(times);
}

/** Ordinary f32 streams: each inverse is one up to rounding, and the difference drifts with depth. */
export const floatArithmetic: StreamArithmetic = {
  name: "f32 streams",
  isExact: false,
  remembers: false,
  dtype: "f32",
  enter: (x) => refuseFixedPoint(x).cast("f32").detach(),
  read: (stream) => stream.detach(),
  add: (stream, increment, { times, norm }) => {
    const f = multiple(increment, times);
    const { engine } = stream;
    const [sum, normalised] =
      norm === undefined
        ? dispatch(engine, ops.add, [stream, f], undefined, donating)
        : dispatch(engine, ops.addNorm, [stream, f, ...norm.operands], normAttrs(norm, engine), donating);
    stream.dispose();
    return { stream: sum!, normalised };
  },
  remove: (stream, increment, { times }) => ({ stream: replace(stream, ops.sub, multiple(increment, times)) }),
  combine: combineTerms,
  separate: (stream, sign, terms) => combineTerms(stream, sign, opposite(sign, terms)),
  scale: (stream, factor) => replace(stream, ops.mul, factor),
  unscale: (stream, factor) => replace(stream, ops.div, factor),
};

function replace(stream: Tensor, op: typeof ops.mul, y: Tensor): Tensor {
  const [result] = dispatch(stream.engine, op, [stream, y], undefined, donating);
  stream.dispose();
  return result!;
}

/**
 * The function of `floatArithmetic`, recorded. Aliases, so that what a branch gives to the gradient of its source is summed up
 * before it joins the stream's: the order of additions in the reconstructing modes, and the same bits in `lossless`.
 */
export const storedFloat: StoredArithmetic = {
  dtype: "f32",
  enter: (x) => refuseFixedPoint(x).cast("f32"),
  read: (stream) => stream.alias(),
  add: (stream, increment, times) => {
    const f = increment.cast("f32");
    return stream.add(times === 1 ? f : f.mul(times));
  },
  combine: combineRecorded,
  scale: (stream, factor) => stream.mul(factor),
};
