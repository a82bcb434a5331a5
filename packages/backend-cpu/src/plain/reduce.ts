import { isContiguous, isFloat, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { aroundAll, type Split, store } from "../buffer.ts";
import { referenceKernels } from "../reference/index.ts";
import { floatsIn, floatsOut, integersIn } from "./floats.ts";

/**
 * Sums over neighbouring axes of dense tensors, a whole row of accumulators at a time, in the reference's order (so with its bits); everything
 * else is the reference's.
 */
export const reduceKernels: Pick<PrimitiveKernels<TypedArray>, "sum"> = {
  sum: {
    run: ([x], [y], attrs) => {
      const split = isContiguous(x!) ? aroundAll(x!.shape, attrs.axes) : undefined;
      if (split === undefined) referenceKernels.sum.run([x!], [y!], attrs);
      else if (isFloat(x!.dtype))
        floatsOut(y!, (out) => addRows(floatsIn(x!), out, new Float64Array(split.inner), split));
      else store(y!, addRows(integersIn(x!), new Int32Array(numel(y!.shape)), new Int32Array(split.inner), split));
    },
  },
};

type Numbers = Float64Array | Int32Array;

/** Sums of `values` into `out`, by way of accumulators whose type says how they are rounded: those of integers wrap. */
function addRows<T extends { set(row: Numbers, at: number): void }>(
  values: ArrayLike<number>,
  out: T,
  row: Numbers,
  { outer, size, inner }: Split,
): T {
  for (let o = 0, at = 0; o < outer; o++) {
    row.fill(0);
    for (let k = 0; k < size; k++) for (let i = 0; i < inner; i++) row[i]! += values[at++]!;
    out.set(row, o * inner);
  }
  return out;
}
