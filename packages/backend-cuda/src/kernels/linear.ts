import { type Activation, type BufferView, type FusedKernels, numel, ops } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import type { Context } from "./context.ts";
import { multiply } from "./matmul.ts";

/** Leading axes merged into one, columns as they are. */
const asRows = (x: CudaView): CudaView => {
  const columns = x.shape[x.shape.length - 1]!;
  const rows = numel(x.shape.slice(0, -1));
  return { ...x, shape: [rows, columns], strides: [columns, 1] };
};

const transposed = (w: CudaView): CudaView => ({
  ...w,
  shape: [w.shape[1]!, w.shape[0]!],
  strides: [w.strides[1]!, w.strides[0]!],
});

/** Whether the library's epilogue is the activation: GELU of 16-bit floats, whose digits its approximate tanh has. */
const hasGelu = (activation: Activation, { dtype }: CudaView): boolean =>
  activation === "gelu" && (dtype === "bf16" || dtype === "f16");

export function linearKernels({ device, elementwise }: Context): Pick<FusedKernels<Block>, "linear"> {
  return {
    linear: {
      inputs: "contiguous",
      run: ([x, w, bias], [y, before], { activation }) => {
        const product = before ?? y!;
        const rows = asRows(product);
        const [a, b] = [asRows(x!), transposed(w!)];
        const withBias = bias === undefined ? {} : { bias: addressOf(bias) };
        if (hasGelu(activation, y!) && multiply(device, a, b, asRows(y!), { ...withBias, before: addressOf(before!) }))
          return;
        if (!multiply(device, a, b, rows, withBias)) {
          multiply(device, a, b, rows);
          const everyRow: BufferView<Block> = { ...bias!, shape: rows.shape, strides: [0, bias!.strides[0]!] };
          elementwise.run(ops.add, undefined, [rows, everyRow], rows);
        }
        if (activation !== "none") elementwise.run(ops[activation], undefined, [product], y!);
      },
    },
  };
}
