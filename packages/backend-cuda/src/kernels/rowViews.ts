import { type Activation, numel } from "@revnet-zero/tensor";
import type { CudaView } from "../device/device.ts";

/** A row-major view with its leading axes merged into one, columns as they are. */
export function asRows(x: CudaView): CudaView {
  const columns = x.shape[x.shape.length - 1]!;
  return { ...x, shape: [numel(x.shape.slice(0, -1)), columns], strides: [columns, 1] };
}

/** A view whose last two axes are swapped. */
export function transposed(x: CudaView): CudaView {
  const swap = (v: readonly number[]): number[] => [...v.slice(0, -2), v[v.length - 1]!, v[v.length - 2]!];
  return { ...x, shape: swap(x.shape), strides: swap(x.strides) };
}

/** Whether the library's epilogues have the activation: GELU of 16-bit floats, whose digits its approximate tanh has. */
export const hasGelu = (activation: Activation, { dtype }: CudaView): boolean =>
  activation === "gelu" && (dtype === "bf16" || dtype === "f16");
