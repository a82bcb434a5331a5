import { isContiguous, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { around } from "../../buffer.ts";
import { plainKernels } from "../../plain/index.ts";
import { checkedIndices } from "../../reference/gather.ts";
import type { Device } from "../device/device.ts";
import { emitScatterAdd } from "../rows/scatter.ts";
import { COLUMN_ALIGN } from "./rows.ts";

/** Sums of float32 rows by index, dense and along the first axis; anything else is plain. */
export function scatterKernel(device: Device): PrimitiveKernels<TypedArray>["scatterAdd"] {
  const { multiply } = device.tier;
  const { scatterAdd } = device.load((m) => emitScatterAdd(m, multiply), ["scatterAdd"]);
  return {
    run: ([indices, updates], [y], attrs) => {
      const { outer, size, inner } = around(y!.shape, attrs.axis);
      const isDense = isContiguous(indices!) && isContiguous(updates!);
      if (y!.dtype !== "f32" || outer !== 1 || !isDense) {
        plainKernels.scatterAdd.run([indices!, updates!], [y!], attrs);
        return;
      }
      checkedIndices("scatterAdd", indices!, size);
      const count = numel(indices!.shape);
      const at = [indices!, updates!, y!].map((view) => device.addressOf(view));
      const work = { units: inner, align: COLUMN_ALIGN, nanosecondsPerUnit: 0.2 * (count + size) };
      device.run(scatterAdd, work, ...at, count, size, inner);
    },
  };
}
