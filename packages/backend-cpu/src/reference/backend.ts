import { type BufferView, type ElementwiseOp, expr, type KernelTable, type TypedArray } from "@revnet-zero/tensor";
import { dense, store } from "../buffer.ts";
import { HostBackend } from "../host.ts";
import { scalarKind } from "../scalar.ts";
import { evaluate } from "./evaluate.ts";
import { referenceKernels } from "./index.ts";
import { sparseAttentionKernels } from "./sparseAttention.ts";

/**
 * The oracle: obvious loops, float64 inside, fused ops by their decompositions (but for attention by a list, whose meaning is plainer in
 * loops). Slow on purpose; what every other backend and every fast kernel is compared with.
 */
export class ReferenceBackend extends HostBackend {
  override readonly name = "reference";
  override readonly kernels: KernelTable<TypedArray> = { ...referenceKernels, ...sparseAttentionKernels };

  override elementwise(
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly BufferView<TypedArray>[],
    output: BufferView<TypedArray>,
  ): void {
    const body = op.body(
      inputs.map((_, i) => expr.argument(i)),
      attrs,
    );
    const types = inputs.map((x) => scalarKind(x.dtype));
    const columns = inputs.map(dense);
    const count = output.shape.reduce((a, b) => a * b, 1);
    const values = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      values[i] = evaluate(
        body,
        columns.map((c) => c[i]!),
        types,
      );
    }
    store(output, values);
  }
}
