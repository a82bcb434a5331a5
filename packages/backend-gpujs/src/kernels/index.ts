import type { KernelTable } from "@revnet-zero/tensor";
import type { Slot } from "../slot.ts";
import { attentionKernels } from "./attention.ts";
import type { Context } from "./context.ts";
import { convKernels } from "./conv.ts";
import { copyKernels } from "./copy.ts";
import { dropoutKernels } from "./dropout.ts";
import { fixedPointKernels } from "./fixedPoint.ts";
import { gatherKernels } from "./gather.ts";
import { linearKernels } from "./linear.ts";
import { matmulKernels } from "./matmul.ts";
import { moveKernels } from "./move.ts";
import { normKernels } from "./norm.ts";
import { optimizerKernels } from "./optimizer.ts";
import { reduceKernels } from "./reduce.ts";
import { softmaxKernels } from "./softmax.ts";

/** What runs as a kernel; every other fused op runs as its parts. */
export const gpuKernels = (c: Context): KernelTable<Slot> => ({
  ...copyKernels(c),
  ...moveKernels(c),
  ...reduceKernels(c),
  ...matmulKernels(c),
  ...convKernels(c),
  ...gatherKernels(c),
  ...softmaxKernels(c),
  ...normKernels(c),
  ...attentionKernels(c),
  ...fixedPointKernels(c),
  ...linearKernels(c),
  ...dropoutKernels(c),
  ...optimizerKernels(c),
});
