import { dtypes, type FusedKernels, isContiguous, numel } from "@revnet-zero/tensor";
import type { Block } from "../../../device/allocator.ts";
import { addressOf, type CudaView } from "../../../device/device.ts";
import type { Context } from "../../context.ts";
import { hasRows, withLayout } from "../operands.ts";
import { sparseBackward, sparseForward } from "./run.ts";

type Kernels = Pick<FusedKernels<Block>, "sparseAttention" | "sparseAttentionBackward">;

/** Heads need rows that lie together, a list whole runs that are read at once, the rest row-major order. */
function fits(view: CudaView): boolean {
  if (view.shape.length === 4) return hasRows(view);
  return isContiguous(view) && (view.shape.length < 5 || addressOf(view) % 16 === 0);
}

/** Where nobody sees anything, gradients are zeros. */
function clear({ device }: Context, view: CudaView): void {
  const bytes = numel(view.shape) * dtypes[view.dtype].bytes;
  if (bytes > 0) device.guard(() => device.native.fill(addressOf(view), 0, bytes));
}

export function sparseAttentionKernels(context: Context): Kernels {
  return {
    sparseAttention: {
      run: (inputs, [out, lse], attrs) => {
        if (numel(lse!.shape) === 0) return;
        withLayout(context, inputs, fits, ([q, k, v, runs, bias]) =>
          sparseForward(context.device, { q: q!, k: k!, v: v!, runs: runs!, bias, out: out!, lse: lse! }, attrs),
        );
      },
    },
    sparseAttentionBackward: {
      run: (inputs, [dq, dk, dv, db], attrs) => {
        if (inputs.some((view, i) => i < 4 && numel(view.shape) === 0)) {
          for (const view of [dq!, dk!, dv!, db!]) clear(context, view);
          return;
        }
        withLayout(context, inputs, fits, ([q, k, v, runs, o, lse, g, ofLse, bias]) => {
          const backward = { o: o!, g: g!, ofLse: ofLse!, dq: dq!, dk: dk!, dv: dv!, db: db! };
          sparseBackward(context.device, { q: q!, k: k!, v: v!, runs: runs!, bias, lse: lse!, backward }, attrs);
        });
      },
    },
  };
}
