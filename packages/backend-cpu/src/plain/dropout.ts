import { type FusedKernels, fillRandomBits, type TypedArray } from "@revnet-zero/tensor";
import { floatsIn, floatsOut } from "./floats.ts";

/** Draws words block by block; the mask is never a tensor. */
export const dropoutKernel: Pick<FusedKernels<TypedArray>, "dropout"> = {
  dropout: {
    inputs: "contiguous",
    run: ([x], [y], { p, key }) => {
      const values = floatsIn(x!);
      const words = new Int32Array(values.length);
      fillRandomBits(words, key);
      const threshold = Math.ceil(p * 2 ** 24);
      // The factor as the unfused form has it: a constant of the tensor's own dtype.
      const scale = y!.dtype === "f32" ? Math.fround(1 / (1 - p)) : 1 / (1 - p);
      floatsOut(y!, (out) => {
        for (let i = 0; i < words.length; i++) out[i] = words[i]! >>> 8 >= threshold ? values[i]! * scale : 0;
      });
    },
  },
};
