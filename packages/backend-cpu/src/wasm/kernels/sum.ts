import { type DType, isContiguous, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { aroundAll } from "../../buffer.ts";
import { plainKernels } from "../../plain/index.ts";
import type { Device, LoadedKernel } from "../device/device.ts";
import { emitSumColumns, emitSumIntegerRows, emitSumMatrices, emitSumRows } from "../rows/sum.ts";
import { COLUMN_ALIGN } from "./rows.ts";

/** With more matrices than these they are shared out whole; fewer are shared out by columns. */
const FEW_MATRICES = 16;

/** Sums over neighbouring axes of dense tensors: rows of float32 or int32, columns of float32. Anything else is plain. */
export function sumKernel(device: Device): PrimitiveKernels<TypedArray>["sum"] {
  const { multiply } = device.tier;
  const { sumRows, sumIntegerRows, sumColumns, sumMatrices } = device.load(
    (m) => {
      emitSumRows(m, multiply);
      emitSumIntegerRows(m, multiply);
      emitSumColumns(m, multiply);
      emitSumMatrices(m, multiply);
    },
    ["sumRows", "sumIntegerRows", "sumColumns", "sumMatrices"],
  );
  const rowSums: { readonly [D in DType]?: LoadedKernel } = { f32: sumRows, i32: sumIntegerRows };
  return {
    run: ([x, ...rest], [y], attrs) => {
      const ofRows = rowSums[x!.dtype];
      const split = ofRows !== undefined && isContiguous(x!) ? aroundAll(x!.shape, attrs.axes) : undefined;
      const isPlain = split === undefined || (split.inner !== 1 && x!.dtype !== "f32");
      if (isPlain || ofRows === undefined) {
        plainKernels.sum.run([x!, ...rest], [y!], attrs);
        return;
      }
      const { outer, size, inner } = split;
      const [from, to] = [device.addressOf(x!), device.addressOf(y!)];
      if (inner === 1) {
        device.run(ofRows, { units: outer, nanosecondsPerUnit: 0.2 * size }, from, to, size);
        return;
      }
      if (outer > FEW_MATRICES) {
        const work = { units: outer, nanosecondsPerUnit: 0.2 * size * inner };
        device.run(sumMatrices, work, from, to, size, inner);
        return;
      }
      const work = { units: inner, align: COLUMN_ALIGN, nanosecondsPerUnit: 0.2 * size };
      for (let o = 0; o < outer; o++) {
        device.run(sumColumns, work, from + 4 * o * size * inner, to + 4 * o * inner, size, inner);
      }
    },
  };
}
