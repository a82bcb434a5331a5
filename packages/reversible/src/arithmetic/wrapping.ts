import type { Norm } from "@revnet-zero/nn";
import type { Tensor } from "@revnet-zero/tensor";
import type { StreamSum } from "./arithmetic.ts";

/** Adds an increment once, in either direction; the stream is given up. */
type AddOnce = (stream: Tensor, f: Tensor, sign: 1 | -1, norm?: Norm) => StreamSum;

/** The increment is rounded once; adding it again is adding the same number again. */
export function addTimes(once: AddOnce, stream: Tensor, increment: Tensor, times: number, norm?: Norm): StreamSum {
  const f = increment.cast("f32");
  const sign = times < 0 ? -1 : 1;
  let sum: StreamSum | undefined;
  for (let left = Math.abs(times); left > 0; left--) {
    const next = once(sum?.stream ?? stream, f, sign, left === 1 ? norm : undefined);
    sum = sum === undefined ? next : { ...next, counts: addCounts(sum.counts!, next.counts!) };
  }
  if (f !== increment) f.dispose();
  return sum!;
}

/** Increments count once, however often they are added; sums that wrapped, each time. */
function addCounts(first: Tensor, next: Tensor): Tensor {
  const at = (t: Tensor, i: number): Tensor => t.narrow(0, i, 1);
  return at(first, 0).concat([at(first, 1).add(at(next, 1)), at(first, 2)], 0);
}
