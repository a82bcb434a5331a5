import type { FusedKernels, KernelTable, PrimitiveKernels, TypedArray } from "@revnet-zero/tensor";
import { referenceKernels } from "../reference/index.ts";
import { attentionKernels } from "./attention.ts";
import { channelFixedPointKernel } from "./channelFixedPoint.ts";
import { copyKernels } from "./copy.ts";
import { dropoutKernel } from "./dropout.ts";
import { fixedPointKernel } from "./fixedPoint.ts";
import { gatherKernels } from "./gather.ts";
import { gridKernel } from "./grid.ts";
import { linearKernel } from "./linear.ts";
import { matmul } from "./matmul.ts";
import { copyElements, moveKernels } from "./move.ts";
import { normKernels } from "./norm.ts";
import { optimizerKernels } from "./optimizer.ts";
import { reduceKernels } from "./reduce.ts";
import { ropeKernel } from "./rope.ts";
import { softmaxKernels } from "./softmax.ts";
import { sortKernel } from "./sort.ts";
import { topkKernel } from "./topk.ts";

const primitives: Partial<PrimitiveKernels<TypedArray>> = {
  ...copyKernels,
  ...gatherKernels,
  ...moveKernels(copyElements),
  ...reduceKernels,
  ...sortKernel,
  matmul: { run: ([a, b], [y]) => matmul(a!, b!, y!) },
};

const fused: FusedKernels<TypedArray> = {
  ...attentionKernels,
  ...channelFixedPointKernel,
  ...dropoutKernel,
  ...fixedPointKernel,
  ...gridKernel,
  ...linearKernel,
  ...normKernels,
  ...optimizerKernels,
  ...ropeKernel,
  ...softmaxKernels,
  ...topkKernel,
};

/** Typed-array kernels where training spends its time; the reference's everywhere else. */
export const plainKernels: KernelTable<TypedArray> = { ...referenceKernels, ...primitives, ...fused };
