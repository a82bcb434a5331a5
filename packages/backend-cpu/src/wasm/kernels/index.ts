import type { FusedKernels, KernelTable, OpName, PrimitiveKernels, TypedArray } from "@revnet-zero/tensor";
import { plainKernels } from "../../plain/index.ts";
import type { Device } from "../device/device.ts";
import { addNormKernels } from "./addNorm.ts";
import { attentionKernels } from "./attention.ts";
import { channelFixedPointKernel } from "./channelFixedPoint.ts";
import { convKernels } from "./conv.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { fixedPointKernel } from "./fixedPoint.ts";
import { linearKernel } from "./linear.ts";
import { loadGemm, matmulKernel } from "./matmul.ts";
import { moveKernels } from "./move.ts";
import { optimizerKernels } from "./optimizer.ts";
import { randomKernels } from "./random.ts";
import { reduceKernels } from "./reduce.ts";
import { ropeKernel } from "./rope.ts";
import { normKernels, softmaxKernels } from "./rows.ts";
import { scatterKernel } from "./scatter.ts";
import { serve } from "./serve.ts";
import { sumKernel } from "./sum.ts";

/** Generated kernels in front of the plain ones. */
export function kernelTable(device: Device, elementwise: ElementwiseKernels): KernelTable<TypedArray> {
  const gemm = loadGemm(device);
  const { randomBits, dropout } = randomKernels(device);
  const float: Partial<PrimitiveKernels<TypedArray> & FusedKernels<TypedArray>> = {
    matmul: matmulKernel(device, gemm),
    linear: linearKernel(device, elementwise, gemm),
    ...attentionKernels(device),
    ...convKernels(device),
    dropout,
    ...normKernels(device),
    ...ropeKernel(device, elementwise),
    ...softmaxKernels(device),
    ...reduceKernels(device),
    sum: sumKernel(device),
  };
  const served = Object.entries(float).map(([name, fast]) => [
    name,
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    serve<any>(device, elementwise, fast, plainKernels[name as OpName & keyof typeof plainKernels]),
  ]);
  return {
    ...plainKernels,
    ...moveKernels(elementwise),
    ...Object.fromEntries(served),
    ...optimizerKernels(device),
    ...addNormKernels(device, elementwise),
    channelFixedPointAdd: channelFixedPointKernel(device),
    fixedPointAdd: fixedPointKernel(device, elementwise),
    randomBits,
    scatterAdd: scatterKernel(device),
  };
}
