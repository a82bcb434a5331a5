import type { Norm } from "@revnet-zero/nn";
import type { Tensor } from "@revnet-zero/tensor";
import { makeHead } from "../side/informationBuffer.ts";
import type { AddOptions, StreamArithmetic, StreamSum } from "./arithmetic.ts";
import { scaleExactly, unscaleExactly } from "./exactScale.ts";
import { combineTerms, opposite } from "./linear.ts";

/** Adds an increment of any float type once, in either direction; the stream is given up. */
export type AddOnce = (stream: Tensor, f: Tensor, sign: 1 | -1, norm?: Norm) => StreamSum;

/** What all integer streams do alike, whatever their width: sums that wrap, and other factors by an information buffer. */
export const wrappingSteps = (
  addOnce: AddOnce,
  hasScales: boolean,
): Omit<StreamArithmetic, "name" | "isExact" | "remembers" | "dtype" | "enter" | "read"> => ({
  add: (stream, increment, { times, norm }) => addTimes(addOnce, stream, increment, times, norm),
  remove: (stream, increment, options) => removeTimes(addOnce, stream, increment, options),
  combine: combineTerms,
  separate: (stream, sign, terms) => combineTerms(stream, sign, opposite(sign, terms)),
  scale: scaleExactly,
  unscale: unscaleExactly,
  ...(hasScales ? { makeBuffer: makeHead } : {}),
});

/** The increment is rounded once; adding it again is adding the same number again. */
export function addTimes(once: AddOnce, stream: Tensor, increment: Tensor, times: number, norm?: Norm): StreamSum {
  const sign = times < 0 ? -1 : 1;
  let sum: StreamSum | undefined;
  for (let left = Math.abs(times); left > 0; left--) {
    const next = once(sum?.stream ?? stream, increment, sign, left === 1 ? norm : undefined);
    sum = sum === undefined ? next : { ...next, counts: addCounts(sum.counts!, next.counts!) };
  }
  return sum!;
}

/** Undoes `addTimes`; nothing is counted. */
export function removeTimes(once: AddOnce, stream: Tensor, increment: Tensor, { times, norm }: AddOptions): StreamSum {
  const { counts, ...difference } = addTimes(once, stream, increment, -times, norm);
  counts!.dispose();
  return difference;
}

/** Increments count once, however often they are added; sums that wrapped, each time. */
function addCounts(first: Tensor, next: Tensor): Tensor {
  const at = (t: Tensor, i: number): Tensor => t.narrow(0, i, 1);
  return at(first, 0).concat([at(first, 1).add(at(next, 1)), at(first, 2)], 0);
}
