import type { Kernel, KernelTable } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { decodeAttentionKernels } from "./attention/decode.ts";
import { headAttentionKernels } from "./attention/heads.ts";
import { attentionKernels } from "./attention/index.ts";
import { sparseAttentionKernels } from "./attention/sparse/index.ts";
import type { Context } from "./context.ts";
import { convKernels } from "./conv/index.ts";
import { dropoutKernels } from "./dropout.ts";
import { fixedPointKernels } from "./fixedPoint.ts";
import { gatherKernels } from "./gather.ts";
import { linearKernels } from "./linear.ts";
import { linearActivationBackwardKernels } from "./linearActivationBackward.ts";
import { matmulKernels } from "./matmul.ts";
import { moveKernels } from "./move.ts";
import { normKernels } from "./norm.ts";
import { normBackwardKernels } from "./normBackward.ts";
import { optimizerKernels } from "./optimizer.ts";
import { pyramidKernels } from "./pyramid.ts";
import { reduceKernels } from "./reduce.ts";
import { ropeKernels } from "./rope.ts";
import { softmaxKernels } from "./softmax.ts";
import { sortKernels } from "./sort.ts";

/** Every kernel of the device, by the op it serves. What they write is noted while a graph is made. */
export function cudaKernels(context: Context): KernelTable<Block> {
  const { graphs } = context.device;
  const noting = ([name, kernel]: [string, Kernel<Block, unknown>]): [string, Kernel<Block, unknown>] => {
    const run: typeof kernel.run = (inputs, outputs, attrs) => {
      kernel.run(inputs, outputs, attrs);
      if (graphs.isCapturing) for (const view of outputs) graphs.noteWritten(view.data);
    };
    return [name, { ...kernel, run }];
  };
  const plain = Object.entries(allKernels(context)) as [string, Kernel<Block, unknown>][];
  return Object.fromEntries(plain.map(noting)) as unknown as KernelTable<Block>;
}

const allKernels = (context: Context): KernelTable<Block> => ({
  ...moveKernels(context),
  ...reduceKernels(context),
  ...gatherKernels(context),
  ...sortKernels(context),
  ...convKernels(context),
  ...matmulKernels(context),
  ...attentionKernels(context),
  ...headAttentionKernels(context),
  ...decodeAttentionKernels(context),
  ...sparseAttentionKernels(context),
  ...pyramidKernels(context),
  ...linearKernels(context),
  ...linearActivationBackwardKernels(context),
  ...normKernels(context),
  ...normBackwardKernels(context),
  ...softmaxKernels(context),
  ...fixedPointKernels(context),
  ...optimizerKernels(context),
  ...dropoutKernels(context),
  ...ropeKernels(context),
});
