import { dtypes, numel } from "@revnet-zero/tensor";
import { addressOf, type CudaView } from "../../device/device.ts";
import type { Context } from "../context.ts";
import { runAttention } from "./choose.ts";
import type { AttentionAttrs, AttentionOperands } from "./operands.ts";

/** q, k and v to o and the log-sum-exp. */
export function runForward({ device }: Context, operands: AttentionOperands, attrs: AttentionAttrs): void {
  if (numel(operands.q.shape.slice(0, 3)) === 0) return;
  runAttention(device, operands, attrs);
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
    runAttention(device, { ...given, lse: addressOf(stored), delta }, attrs);
  });
}
