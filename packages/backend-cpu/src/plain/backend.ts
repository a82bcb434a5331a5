import type { BufferView, ElementwiseOp, KernelTable, TypedArray } from "@revnet-zero/tensor";
import { HostBackend } from "../host.ts";
import { runElementwise } from "./elementwise.ts";
import { plainKernels } from "./index.ts";

/** Plain TypeScript over typed arrays: compiled elementwise loops, packed matrix products, fused kernels. One thread. */
export class CpuBackend extends HostBackend {
  override readonly name = "cpu";
  readonly arithmetic = "float64 sums in ascending order, rounded once";
  override readonly kernels: KernelTable<TypedArray> = plainKernels;

  override elementwise(
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly BufferView<TypedArray>[],
    output: BufferView<TypedArray>,
  ): void {
    runElementwise(op, attrs, inputs, output);
  }
}
