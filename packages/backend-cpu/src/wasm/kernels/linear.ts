import { type FusedKernels, numel, ops, type TypedArray } from "@revnet-zero/tensor";
import type { Device } from "../device/device.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { type Gemm, matrixOf, multiply } from "./matmul.ts";

type LinearKernel = NonNullable<FusedKernels<TypedArray>["linear"]>;

/** x · Wᵀ with the bias added as the sums leave the registers; then the activation, on rows that are still in the cache. */
export const linearKernel = (device: Device, elementwise: ElementwiseKernels, gemm: Gemm): LinearKernel => ({
  inputs: "contiguous",
  run: ([x, w, b], [y, before], { activation }) => {
    const [columns, k] = w!.shape as [number, number];
    const target = before ?? y!;
    const rows = numel(x!.shape.slice(0, -1));
    const { at, rowBytes, columnBytes } = matrixOf(device, w!);
    multiply(device, gemm, {
      rows,
      columns,
      k,
      a: { at: device.addressOf(x!), rowBytes: 4 * k, columnBytes: 4 },
      b: { at, rowBytes: columnBytes, columnBytes: rowBytes },
      c: target.data.byteOffset,
      bias: b === undefined ? 0 : device.addressOf(b),
      ...(before !== undefined && activation !== "none"
        ? { next: elementwise.following(ops[activation], before, y!, columns) }
        : {}),
    });
  },
});
