import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { fixed } from "../rounding.ts";
import { floatsIn, indicesIn } from "./floats.ts";

/** Quantise, wrap-add and count in one pass: 12 bytes moved an element, and safe over its own input. */
export const fixedPointKernel: Pick<FusedKernels<TypedArray>, "fixedPointAdd"> = {
  fixedPointAdd: {
    run: ([x, f], [y, record], { fractionBits, sign, row = 0 }) => {
      const [stream, increment] = [indicesIn(x!), floatsIn(f!)];
      const out = y!.data;
      const scale = 2 ** fractionBits;
      let [saturated, wrapped, nan] = [0, 0, 0];
      for (let i = 0; i < increment.length; i++) {
        const v = increment[i]! * scale;
        const q = fixed(v);
        const sum = stream[i]! + sign * q;
        const low = sum | 0;
        // Out of range after rounding: 2^31 - 0.5 rounds (to even) up to 2^31, -2^31 - 0.5 to -2^31, which fits.
        if (v >= 2147483647.5 || v < -2147483648.5) saturated++;
        else if (Number.isNaN(v)) nan++;
        if (low !== sum) wrapped++;
        out[i] = low;
      }
      [saturated, wrapped, nan].forEach((n, k) => {
        if (record !== undefined) record.data[3 * row + k]! += n;
      });
    },
  },
};
