import type { KernelTable } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import type { Context } from "./context.ts";
import { convKernels } from "./conv.ts";
import { gatherKernels } from "./gather.ts";
import { matmulKernels } from "./matmul.ts";
import { moveKernels } from "./move.ts";
import { reduceKernels } from "./reduce.ts";
import { sortKernels } from "./sort.ts";

/** Every kernel of the device, by the op it serves. */
export const cudaKernels = (context: Context): KernelTable<Block> => ({
  ...moveKernels(context),
  ...reduceKernels(context),
  ...gatherKernels(context),
  ...sortKernels(context),
  ...convKernels(context),
  ...matmulKernels(context),
});
