import type { Norm } from "@revnet-zero/nn";
import { dispatch, ops, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic, StreamSum } from "./arithmetic.ts";
import { combineTerms, opposite } from "./linear.ts";

const donating = { donates: true };

/**
 * int32 fixed point with a wrapping sum: (Z mod 2^32, +) is a group, so every step with whole coefficients is a bijection
 * whatever the branch computes, overflow included.
 */
export function fixedPointArithmetic(fractionBits: number): StreamArithmetic {
  const once = (stream: Tensor, f: Tensor, sign: 1 | -1, norm?: Norm): StreamSum => {
    const { engine } = stream;
    const attrs = { fractionBits, sign };
    const outputs =
      norm === undefined
        ? dispatch(engine, ops.fixedPointAdd, [stream, f], attrs, donating)
        : dispatch(engine, ops.fixedPointAddNorm, [stream, f, ...norm.operands], { ...attrs, eps: norm.eps }, donating);
    stream.dispose();
    return { stream: outputs[0]!, counts: outputs[outputs.length - 1]!, normalised: norm && outputs[1]! };
  };
  /** The increment is rounded once; adding it again is adding the same word again. */
  const step = (stream: Tensor, increment: Tensor, times: number, norm?: Norm): StreamSum => {
    const f = increment.cast("f32");
    const sign = times < 0 ? -1 : 1;
    let sum: StreamSum | undefined;
    for (let left = Math.abs(times); left > 0; left--) {
      const next = once(sum?.stream ?? stream, f, sign, left === 1 ? norm : undefined);
      sum = sum === undefined ? next : { ...next, counts: addCounts(sum.counts!, next.counts!) };
    }
    if (f !== increment) f.dispose();
    return sum!;
  };
  return {
    name: "int32 fixed-point streams",
    isExact: true,
    dtype: "i32",
    enter: (x) => (x.dtype === "i32" ? x.detach() : x.cast("f32").quantise(fractionBits)),
    read: (stream) => stream.dequantise(fractionBits),
    add: (stream, increment, { times, norm }) => step(stream, increment, times, norm),
    remove: (stream, increment, { times }) => {
      const { stream: difference, counts } = step(stream, increment, -times);
      counts!.dispose();
      return difference;
    },
    combine: combineTerms,
    separate: (stream, sign, terms) => combineTerms(stream, sign, opposite(sign, terms)),
    scale: refuseScale,
    unscale: refuseScale,
  };
}

/** Increments count once, however often they are added; sums that wrapped, each time. */
function addCounts(first: Tensor, next: Tensor): Tensor {
  const at = (t: Tensor, i: number): Tensor => t.narrow(0, i, 1);
  return at(first, 0).concat([at(first, 1).add(at(next, 1)), at(first, 2)], 0);
}

export function refuseScale(): never {
  throw new ValueError(
    "reversible",
    "int32 fixed-point streams cannot undo a multiplication: several numbers are rounded to one product",
    'use mode "float" for couplings that scale a stream (affine, momentum), or a mode with an information buffer',
  );
}

/** The function of `fixedPointArithmetic`, recorded. */
export function storedFixedPoint(fractionBits: number): StoredArithmetic {
  return {
    dtype: "i32",
    enter: (x) => x.cast("f32").quantise(fractionBits),
    read: (stream) => stream.dequantise(fractionBits),
    add: (stream, increment, times) => {
      const q = increment.cast("f32").quantise(fractionBits);
      return stream.add(times === 1 ? q : q.mul(times));
    },
    combine: (stream, sign, terms) =>
      terms.reduce(
        (sum, t) => sum.add(t.times === 1 ? t.stream : t.stream.mul(t.times)),
        sign === 1 ? stream : stream.neg(),
      ),
    scale: refuseScale,
  };
}
