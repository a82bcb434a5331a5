import type { FusedKernels, KernelTable, OpName, PrimitiveKernels, TypedArray } from "@revnet-zero/tensor";
import { plainKernels } from "../../plain/index.ts";
import type { Device } from "../device/device.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { fixedPointKernel } from "./fixedPoint.ts";
import { linearKernel } from "./linear.ts";
import { loadGemm, matmulKernel } from "./matmul.ts";
import { serve } from "./serve.ts";

/** Generated kernels in front of the plain ones. */
export function kernelTable(device: Device, elementwise: ElementwiseKernels): KernelTable<TypedArray> {
  const gemm = loadGemm(device);
  const float: Partial<PrimitiveKernels<TypedArray> & FusedKernels<TypedArray>> = {
    matmul: matmulKernel(device, gemm),
    linear: linearKernel(device, elementwise, gemm),
  };
  const served = Object.entries(float).map(([name, fast]) => [
    name,
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    serve<any>(device, elementwise, fast, plainKernels[name as OpName & keyof typeof plainKernels]!),
  ]);
  return { ...plainKernels, ...Object.fromEntries(served), fixedPointAdd: fixedPointKernel(device) };
}
