import { type DType, type FusedKernels, ops, type TypedArray } from "@revnet-zero/tensor";
import { decoder, encoder } from "../buffer.ts";
import { runElementwise } from "./elementwise.ts";
import { floatsIn } from "./floats.ts";
import { rowsTimesTransposed } from "./matmul.ts";

/** Packed product with the bias in the epilogue; the activation reads the rounded value, as the unfused form does. */
export const linearKernel: Required<Pick<FusedKernels<TypedArray>, "linear">> = {
  linear: {
    inputs: "contiguous",
    run: ([x, w, b], [y, before], { activation }) => {
      const target = before ?? y!;
      const bias = b === undefined ? undefined : floatsIn(b);
      // Round between product and sum: fused equals unfused, bit for bit.
      const round = rounder(y!.dtype);
      rowsTimesTransposed(x!, w!, target, (v, column) => (bias === undefined ? v : round(v) + bias[column]!));
      if (before === undefined || activation === "none") return;
      runElementwise(ops[activation], undefined, [before], y!);
    },
  },
};

/** One rounding to a float dtype, as a store and a load would do. */
function rounder(dtype: DType): (v: number) => number {
  if (dtype === "f32") return Math.fround;
  const [encode, decode] = [encoder(dtype), decoder(dtype)];
  return (v) => decode(encode(v));
}
