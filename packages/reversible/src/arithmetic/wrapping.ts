import { type Tensor, tensor, zeros } from "@revnet-zero/tensor";
import { noteCounts } from "../health.ts";
import { makeHead } from "../side/informationBuffer.ts";
import type { AddOptions, StreamArithmetic, StreamSum } from "./arithmetic.ts";
import { scaleExactly, unscaleExactly } from "./exactScale.ts";
import { combineTerms, opposite } from "./linear.ts";

export interface AddOnceOptions extends Omit<AddOptions, "times"> {
  readonly sign: 1 | -1;
}

/** Adds an increment of any float type once, in either direction; the stream is given up. */
export type AddOnce = (stream: Tensor, f: Tensor, options: AddOnceOptions) => StreamSum;

/** What all integer streams do alike, whatever their width: sums that wrap, and other factors by an information buffer. */
export const wrappingSteps = (
  addOnce: AddOnce,
  hasScales: boolean,
): Omit<StreamArithmetic, "name" | "isExact" | "remembers" | "dtype" | "enter" | "read"> => ({
  add: (stream, increment, options) => addTimes(addOnce, stream, increment, options),
  remove: (stream, increment, options) => removeTimes(addOnce, stream, increment, options),
  combine: combineTerms,
  separate: (stream, sign, terms) => combineTerms(stream, sign, opposite(sign, terms)),
  scale: scaleExactly,
  unscale: unscaleExactly,
  ...(hasScales ? { makeBuffer: makeHead } : {}),
});

/** The increment is rounded once; adding it again is adding the same number again. */
export function addTimes(
  once: AddOnce,
  stream: Tensor,
  increment: Tensor,
  { times, norm, counts }: AddOptions,
): StreamSum {
  const sign = times < 0 ? -1 : 1;
  const most = Math.abs(times);
  const again = counts === undefined || most === 1 ? undefined : zerosOf(counts.record);
  let sum: StreamSum = { stream };
  for (let n = 1; n <= most; n++)
    sum = once(sum.stream, increment, {
      sign,
      norm: n === most ? norm : undefined,
      counts: n === 1 ? counts : again && { record: again, row: 0 },
    });
  // Increments count once, however often they are added; sums that wrapped, each time.
  if (again !== undefined) noteCounts(counts, again.mul(onlyWrapped(again)));
  return sum;
}

const zerosOf = ({ engine }: Tensor): Tensor => zeros([1, 3], { dtype: "i32", engine });
const onlyWrapped = ({ engine }: Tensor): Tensor => tensor([[0, 1, 0]], { dtype: "i32", engine });

/** Undoes `addTimes`; nothing is counted. */
export const removeTimes = (once: AddOnce, stream: Tensor, increment: Tensor, { times, norm }: AddOptions): StreamSum =>
  addTimes(once, stream, increment, { times: -times, norm });
