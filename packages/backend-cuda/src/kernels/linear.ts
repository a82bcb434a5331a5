import { type BufferView, type FusedKernels, ops } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice } from "../device/device.ts";
import type { Context } from "./context.ts";
import { type FewRows, multiplyFewRows } from "./fewRows.ts";
import { multiply } from "./matmul.ts";
import { fold } from "./reduce.ts";
import { asRows, hasGelu, transposed } from "./rowViews.ts";
import { multiplySomeRows } from "./someRows.ts";

/** The product of rows that are not many, which waits for weights; false where the library is to serve. */
const multiplyOwn = (device: CudaDevice, one: FewRows): boolean =>
  multiplySomeRows(device, one) || multiplyFewRows(device, one);

export function linearKernels({
  device,
  elementwise,
}: Context): Pick<FusedKernels<Block>, "linear" | "linearParametersBackward"> {
  return {
    linearParametersBackward: {
      inputs: "contiguous",
      run: ([g, x], [byWeight, byBias]) => {
        const rows = asRows(g!);
        // Sums first: their kernels start before the one in front of them has ended, a library's product does not.
        if (byBias !== undefined) fold(device, "Sum", rows, byBias, [0]);
        multiply(device, transposed(rows), asRows(x!), byWeight!);
      },
    },
    linear: {
      inputs: "contiguous",
      run: ([x, w, bias], [y, before], { activation }) => {
        const product = before ?? y!;
        const rows = asRows(product);
        const [a, b] = [asRows(x!), transposed(w!)];
        const vector = bias === undefined ? {} : { vector: addressOf(bias) };
        const few = { x: a, w: w!, bias };
        if (activation === "gelu" && multiplyOwn(device, { ...few, y: asRows(y!), before: rows })) return;
        if (multiplyOwn(device, { ...few, y: rows })) {
          if (activation !== "none") elementwise.run(ops[activation], undefined, [product], y!);
          return;
        }
        if (hasGelu(activation, y!)) {
          const kind = bias === undefined ? "gelu" : "geluBias";
          if (multiply(device, a, b, asRows(y!), { kind, ...vector, matrix: addressOf(before!) })) return;
        }
        if (!multiply(device, a, b, rows, bias === undefined ? undefined : { kind: "bias", ...vector })) {
          multiply(device, a, b, rows);
          const everyRow: BufferView<Block> = { ...bias!, shape: rows.shape, strides: [0, bias!.strides[0]!] };
          elementwise.run(ops.add, undefined, [rows, everyRow], rows);
        }
        if (activation !== "none") elementwise.run(ops[activation], undefined, [product], y!);
      },
    },
  };
}
