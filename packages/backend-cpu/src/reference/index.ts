import type { PrimitiveKernels, TypedArray } from "@revnet-zero/tensor";
import { convKernels } from "./conv.ts";
import { copyKernels } from "./copy.ts";
import { gatherKernels } from "./gather.ts";
import { matmulKernels } from "./matmul.ts";
import { moveKernels } from "./move.ts";
import { reduceKernels } from "./reduce.ts";

/** One obvious kernel for every primitive: dense float64 values in, one rounding out. The oracle of every other kernel. */
export const referenceKernels: PrimitiveKernels<TypedArray> = {
  ...copyKernels,
  ...reduceKernels,
  ...matmulKernels,
  ...convKernels,
  ...gatherKernels,
  ...moveKernels,
};
