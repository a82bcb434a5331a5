import { isContiguous, isFloat, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { referenceKernels } from "../reference/index.ts";
import { floatsIn, floatsOut } from "./floats.ts";

/**
 * Sums over neighbouring axes of dense float tensors, a whole row of accumulators at a time, in the reference's order
 * (so with its bits); everything else is the reference's.
 */
export const reduceKernels: Pick<PrimitiveKernels<TypedArray>, "sum"> = {
  sum: {
    run: ([x], [y], attrs) => {
      const { axes } = attrs;
      const [first, last] = [axes[0] ?? 0, axes[axes.length - 1] ?? -1];
      const areNeighbours = last - first + 1 === axes.length;
      if (!isFloat(x!.dtype) || !isContiguous(x!) || !areNeighbours) {
        referenceKernels.sum.run([x!], [y!], attrs);
        return;
      }
      const outer = numel(x!.shape.slice(0, first));
      const size = numel(x!.shape.slice(first, last + 1));
      const inner = numel(x!.shape.slice(last + 1));
      const values = floatsIn(x!);
      const row = new Float64Array(inner);
      floatsOut(y!, (out) => {
        for (let o = 0, at = 0; o < outer; o++) {
          row.fill(0);
          for (let k = 0; k < size; k++) for (let i = 0; i < inner; i++) row[i]! += values[at++]!;
          out.set(row, o * inner);
        }
      });
    },
  },
};
