import { isContiguous, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { plainKernels } from "../../plain/index.ts";
import type { Device } from "../device/device.ts";
import { emitSumColumns, emitSumRows } from "../rows/sum.ts";
import { COLUMN_ALIGN } from "./rows.ts";

/** Sums over neighbouring axes of dense float32 tensors: rows, or the columns of matrices. Anything else is plain. */
export function sumKernel(device: Device): PrimitiveKernels<TypedArray>["sum"] {
  const { multiply } = device.tier;
  const { sumRows, sumColumns } = device.load(
    (m) => {
      emitSumRows(m, multiply);
      emitSumColumns(m, multiply);
    },
    ["sumRows", "sumColumns"],
  );
  return {
    run: ([x, ...rest], [y], attrs) => {
      const { axes } = attrs;
      const [first, last] = [axes[0] ?? 0, axes[axes.length - 1] ?? -1];
      const areNeighbours = last - first + 1 === axes.length;
      const outer = numel(x!.shape.slice(0, first));
      const size = numel(x!.shape.slice(first, last + 1));
      const inner = numel(x!.shape.slice(last + 1));
      const areFewMatrices = inner === 1 || outer <= 16;
      if (x!.dtype !== "f32" || !isContiguous(x!) || !areNeighbours || !areFewMatrices) {
        plainKernels.sum.run([x!, ...rest], [y!], attrs);
        return;
      }
      const [from, to] = [device.addressOf(x!), device.addressOf(y!)];
      if (inner === 1) {
        device.run(sumRows, { units: outer, nanosecondsPerUnit: 0.2 * size }, from, to, size);
        return;
      }
      const work = { units: inner, align: COLUMN_ALIGN, nanosecondsPerUnit: 0.2 * size };
      for (let o = 0; o < outer; o++) {
        device.run(sumColumns, work, from + 4 * o * size * inner, to + 4 * o * inner, size, inner);
      }
    },
  };
}
