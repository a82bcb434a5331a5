import { dtypes, numel } from "@revnet-zero/tensor";
import { addressOf, type CudaView } from "../../device/device.ts";
import type { Context } from "../context.ts";
import { byGraph, takesGraph } from "./graphs.ts";
import type { AttentionAttrs, AttentionOperands } from "./operands.ts";
import { ownBackward, ownForward } from "./own.ts";

/** q, k and v to o and the log-sum-exp: by cuDNN where it takes them, else by our own kernels. */
export function runForward({ device }: Context, operands: AttentionOperands, attrs: AttentionAttrs): void {
  if (numel(operands.q.shape.slice(0, 3)) === 0) return;
  if (takesGraph(operands, attrs) && byGraph(device, operands, attrs)) return;
  ownForward(device, operands, attrs);
}

/** q, k, v, o, the log-sum-exp and the gradient of o to those of q, k and v. */
export function runBackward(
  { device }: Context,
  { stored, ...given }: Omit<AttentionOperands, "lse" | "delta"> & { readonly stored: CudaView },
  attrs: AttentionAttrs,
): void {
  const queries = numel(stored.shape);
  if (queries === 0) return;
  device.withWorkspace(queries * dtypes[stored.dtype].bytes, (delta) => {
    const operands = { ...given, lse: addressOf(stored), delta };
    if (takesGraph(operands, attrs) && byGraph(device, operands, attrs)) return;
    ownBackward(device, operands, attrs);
  });
}
