import { normAttrs } from "@revnet-zero/nn";
import { dispatch, ops } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic.ts";
import { combineRecorded } from "./linear.ts";
import { firstHead, productByHand, withValue } from "./storedScale.ts";
import { type AddOnce, wrappingSteps } from "./wrapping.ts";

const donating = { donates: true };

export interface FixedPointOptions {
  readonly fractionBits: number;
  /** Whether couplings scale streams: then each has an information buffer. Default false. */
  readonly hasScales?: boolean;
}

/**
 * int32 fixed point with a wrapping sum: (Z mod 2^32, +) is a group, so every step with whole coefficients is a bijection
 * whatever the branch computes, overflow included. Other factors go by an information buffer.
 */
export function fixedPointArithmetic({ fractionBits, hasScales = false }: FixedPointOptions): StreamArithmetic {
  const addOnce: AddOnce = (stream, increment, { sign, norm, counts }) => {
    const { engine } = stream;
    const f = increment.dtype === "f64" ? increment.cast("f32") : increment;
    const attrs = { fractionBits, sign, ...(counts === undefined ? {} : { row: counts.row }) };
    const inputs = [stream, f, ...(norm?.operands ?? []), ...(counts === undefined ? [] : [counts.record])];
    const outputs =
      norm === undefined
        ? dispatch(engine, ops.fixedPointAdd, inputs, attrs, donating)
        : dispatch(engine, ops.fixedPointAddNorm, inputs, { ...attrs, ...normAttrs(norm, engine) }, donating);
    stream.dispose();
    if (counts !== undefined) outputs.pop()!.dispose();
    const [sum, normalised, ...statistics] = outputs;
    return { stream: sum!, normalised, statistics };
  };
  return {
    name: "int32 fixed-point streams",
    isExact: true,
    remembers: hasScales,
    dtype: "i32",
    fractionBits,
    enter: (x) => (x.dtype === "i32" ? x.detach() : x.cast("f32").quantise(fractionBits)),
    read: (stream) => stream.dequantise(fractionBits),
    ...wrappingSteps(addOnce, hasScales),
  };
}

/** The function of `fixedPointArithmetic`, recorded. */
export function storedFixedPoint({ fractionBits, hasScales = false }: FixedPointOptions): StoredArithmetic {
  return {
    dtype: "i32",
    enter: (x) => x.cast("f32").quantise(fractionBits),
    read: (stream) => stream.dequantise(fractionBits),
    add: (stream, increment, times) => {
      const q = increment.cast("f32").quantise(fractionBits);
      return stream.add(times === 1 ? q : q.mul(times));
    },
    combine: combineRecorded,
    scale: (stream, factor, memory) => {
      const value = productByHand(stream, factor, memory);
      return withValue(stream.dequantise(fractionBits).mul(factor).quantise(fractionBits), value);
    },
    ...(hasScales ? { makeBuffer: firstHead } : {}),
  };
}
