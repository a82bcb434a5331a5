import { dispatch, type NarrowDType, ops, type Tensor } from "@revnet-zero/tensor";
import { noteCounts } from "../health.ts";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic.ts";
import { combineRecorded } from "./linear.ts";
import { firstHead, productByHand, withValue } from "./storedScale.ts";
import { type AddOnce, wrappingSteps } from "./wrapping.ts";

const donating = { donates: true };

export interface NarrowOptions {
  /** Units a value of 1 has: powers of two, one ([]) or one a channel ([dim]). All streams share them. */
  readonly scales: Tensor;
  /** Default i16. */
  readonly dtype?: NarrowDType;
  readonly hasScales?: boolean;
}

/** int16 (or int8) fixed point with a wrapping sum, a power-of-two scale a channel: half the bytes of int32, and as exact. */
export function narrowArithmetic({ scales, dtype = "i16", hasScales = false }: NarrowOptions): StreamArithmetic {
  const addOnce: AddOnce = (stream, f, { sign, counts }) => {
    const inputs = [stream, f.cast("f32"), scales];
    const [sum, counted] = dispatch(stream.engine, ops.channelFixedPointAdd, inputs, { sign }, donating);
    stream.dispose();
    noteCounts(counts, counted!);
    return { stream: sum! };
  };
  return {
    name: `${dtype} fixed-point streams`,
    isExact: true,
    remembers: hasScales,
    dtype,
    enter: (x) => (x.dtype === dtype ? x.detach() : quantise(x, scales, dtype)),
    read: (stream) => dequantise(stream, scales),
    ...wrappingSteps(addOnce, hasScales),
  };
}

function quantise(x: Tensor, scales: Tensor, dtype: NarrowDType): Tensor {
  const f = x.cast("f32");
  return f.apply(ops.quantiseChannels, [f, scales], { dtype });
}
const dequantise = (stream: Tensor, scales: Tensor): Tensor =>
  stream.apply(ops.dequantiseChannels, [stream, scales], undefined);

/** The function of `narrowArithmetic`, recorded. */
export function storedNarrow({ scales, dtype = "i16", hasScales = false }: NarrowOptions): StoredArithmetic {
  return {
    dtype,
    enter: (x) => quantise(x, scales, dtype),
    read: (stream) => dequantise(stream, scales),
    add: (stream, increment, times) => {
      const q = quantise(increment, scales, dtype);
      return stream.add(times === 1 ? q : q.mul(times));
    },
    combine: combineRecorded,
    scale: (stream, factor, memory) => {
      const value = productByHand(stream, factor, memory);
      return withValue(quantise(dequantise(stream, scales).mul(factor), scales, dtype), value);
    },
    ...(hasScales ? { makeBuffer: firstHead } : {}),
  };
}
