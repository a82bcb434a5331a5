import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { type Floats, floatsIn, floatsOut, indicesIn } from "./floats.ts";
import { checkTargets } from "./targets.ts";

type Kernels = Pick<
  FusedKernels<TypedArray>,
  "softmax" | "softmaxBackward" | "logSoftmax" | "crossEntropy" | "crossEntropyBackward"
>;

/** Calls `f` with the start of every row of the last axis. */
export function eachRow(shape: readonly number[], f: (start: number, size: number, row: number) => void): void {
  const size = shape[shape.length - 1]!;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  for (let r = 0; r < rows; r++) f(r * size, size, r);
}

function maximum(x: Floats, start: number, size: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < size; i++) top = Math.max(top, x[start + i]!);
  return top;
}

function sumExp(x: Floats, start: number, size: number, shift: number): number {
  let total = 0;
  for (let i = 0; i < size; i++) total += Math.exp(x[start + i]! - shift);
  return total;
}

export const softmaxKernels: Kernels = {
  softmax: {
    inputs: "contiguous",
    run: ([x], [y]) => {
      const values = floatsIn(x!);
      floatsOut(y!, (out) =>
        eachRow(x!.shape, (start, size) => {
          const top = maximum(values, start, size);
          const scale = 1 / sumExp(values, start, size, top);
          for (let i = 0; i < size; i++) out[start + i] = Math.exp(values[start + i]! - top) * scale;
        }),
      );
    },
  },
  softmaxBackward: {
    inputs: "contiguous",
    run: ([y, g], [dx]) => {
      const [p, grad] = [floatsIn(y!), floatsIn(g!)];
      floatsOut(dx!, (out) =>
        eachRow(y!.shape, (start, size) => {
          let dot = 0;
          for (let i = 0; i < size; i++) dot += p[start + i]! * grad[start + i]!;
          for (let i = 0; i < size; i++) out[start + i] = p[start + i]! * (grad[start + i]! - dot);
        }),
      );
    },
  },
  logSoftmax: {
    inputs: "contiguous",
    run: ([x], [y]) => {
      const values = floatsIn(x!);
      floatsOut(y!, (out) =>
        eachRow(x!.shape, (start, size) => {
          const top = maximum(values, start, size);
          const shift = top + Math.log(sumExp(values, start, size, top));
          for (let i = 0; i < size; i++) out[start + i] = values[start + i]! - shift;
        }),
      );
    },
  },
  crossEntropy: {
    inputs: "contiguous",
    run: ([x, t], [loss, lse]) => {
      const [values, targets] = [floatsIn(x!), checkTargets(x!, t!)];
      floatsOut(loss!, (losses) =>
        floatsOut(lse!, (sums) =>
          eachRow(x!.shape, (start, size, row) => {
            const top = maximum(values, start, size);
            const total = top + Math.log(sumExp(values, start, size, top));
            sums[row] = total;
            const target = targets[row]!;
            losses[row] = target < 0 ? 0 : total - values[start + target]!;
          }),
        ),
      );
    },
  },
  crossEntropyBackward: {
    inputs: "contiguous",
    run: ([x, t, lse, g], [dx]) => {
      const [values, targets, sums, grad] = [floatsIn(x!), indicesIn(t!), floatsIn(lse!), floatsIn(g!)];
      floatsOut(dx!, (out) =>
        eachRow(x!.shape, (start, size, row) => {
          const target = targets[row]!;
          const scale = target < 0 ? 0 : grad[row]!;
          const shift = sums[row]!;
          for (let i = 0; i < size; i++) {
            const p = Math.exp(values[start + i]! - shift);
            out[start + i] = (i === target ? p - 1 : p) * scale;
          }
        }),
      );
    },
  },
};
