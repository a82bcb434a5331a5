import type { Tensor } from "@revnet-zero/tensor";
import { decodeUlps, encodeUlps } from "../side/ulpCode.ts";
import type { StepMemory, StreamArithmetic } from "./arithmetic.ts";
import { floatArithmetic } from "./float.ts";

/**
 * Ordinary f32 streams whose inverse is made exact: each step keeps, in units in the last place, how far its rounded inverse
 * is from what it was given: two bits an element and a word for each of the few that are further off. The forward pass is
 * that of `float`, so that a pretrained network computes what it always has; what is kept grows with depth.
 */
export const losslessArithmetic: StreamArithmetic = {
  ...floatArithmetic,
  name: "lossless f32 streams",
  isExact: true,
  remembers: true,
  add: (stream, increment, options, memory) => {
    let sum: ReturnType<StreamArithmetic["add"]> | undefined;
    remember(
      stream,
      memory,
      (x) => {
        sum = floatArithmetic.add(x, increment, options, memory);
        return sum.stream;
      },
      (y) => floatArithmetic.remove(y, increment, options, memory).stream,
    );
    return sum!;
  },
  remove: (stream, increment, options, memory) => ({
    stream: correct(floatArithmetic.remove(stream, increment, options, memory).stream, memory),
  }),
  combine: (stream, sign, terms, memory) =>
    remember(
      stream,
      memory,
      (x) => floatArithmetic.combine(x, sign, terms, memory),
      (y) => floatArithmetic.separate(y, sign, terms, memory),
    ),
  separate: (stream, sign, terms, memory) => correct(floatArithmetic.separate(stream, sign, terms, memory), memory),
  scale: (stream, factor, memory) =>
    remember(
      stream,
      memory,
      (x) => floatArithmetic.scale(x, factor, memory),
      (y) => floatArithmetic.unscale(y, factor, memory),
    ),
  unscale: (stream, factor, memory) => correct(floatArithmetic.unscale(stream, factor, memory), memory),
};

/** Does a step, and keeps how far its inverse will be off. Both give up what they are given. */
function remember(
  stream: Tensor,
  memory: StepMemory,
  forward: (x: Tensor) => Tensor,
  inverse: (y: Tensor) => Tensor,
): Tensor {
  if (!memory.keeps) return forward(stream);
  // Second handles: what two hold is not written over.
  const before = stream.detach();
  const after = forward(stream);
  const near = inverse(after.detach());
  const { codes, escapes } = encodeUlps(before, near);
  memory.push(codes, escapes);
  before.dispose();
  near.dispose();
  return after;
}

function correct(near: Tensor, memory: StepMemory): Tensor {
  const escapes = memory.pop();
  const codes = memory.pop();
  const exact = decodeUlps(near, { codes, escapes });
  for (const t of [near, codes, escapes]) t.dispose();
  return exact;
}
