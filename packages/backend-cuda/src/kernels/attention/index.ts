import { type FusedKernels, isContiguous } from "@revnet-zero/tensor";
import type { Block } from "../../device/allocator.ts";
import { addressOf, type CudaView } from "../../device/device.ts";
import type { Context } from "../context.ts";
import { hasRows, withLayout } from "./operands.ts";
import { runBackward, runForward } from "./run.ts";

type Kernels = Pick<FusedKernels<Block>, "attention" | "attentionBackward">;

export function attentionKernels(context: Context): Kernels {
  return {
    attention: {
      run: (inputs, [out, lse], attrs) =>
        withLayout(context, inputs, hasRows, ([q, k, v]) =>
          runForward(context, { q: q!, k: k!, v: v!, out: out!, lse: addressOf(lse!) }, attrs),
        ),
    },
    attentionBackward: {
      run: (inputs, [dq, dk, dv], attrs) => {
        const lse = inputs[4]!;
        const fits = (view: CudaView): boolean => (view === lse ? isContiguous(view) : hasRows(view));
        withLayout(context, inputs, fits, ([q, k, v, o, stored, g]) => {
          const given = { q: q!, k: k!, v: v!, o: o!, stored: stored!, g: g! };
          runBackward(context, { ...given, dq: dq!, dk: dk!, dv: dv! }, attrs);
        });
      },
    },
  };
}
