import { isContiguous, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { aroundAll } from "../../buffer.ts";
import { plainKernels } from "../../plain/index.ts";
import type { Device } from "../device/device.ts";
import { emitSumColumns, emitSumRows } from "../rows/sum.ts";
import { COLUMN_ALIGN } from "./rows.ts";

/** Columns are summed matrix by matrix; of more than these the plain kernel does better. */
const FEW_MATRICES = 16;

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
      const split = x!.dtype === "f32" && isContiguous(x!) ? aroundAll(x!.shape, attrs.axes) : undefined;
      if (split === undefined || (split.inner !== 1 && split.outer > FEW_MATRICES)) {
        plainKernels.sum.run([x!, ...rest], [y!], attrs);
        return;
      }
      const { outer, size, inner } = split;
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
