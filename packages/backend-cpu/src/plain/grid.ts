import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { rint } from "../rounding.ts";
import { floatsIn } from "./floats.ts";

const LARGEST = 2 ** 24;

/** Snap, add and count in one pass; safe over its own input. Products with powers of two are exact in float64. */
export const gridKernel: Pick<FusedKernels<TypedArray>, "gridAdd"> = {
  gridAdd: {
    run: ([x, f], [y, counts], { fractionBits, sign }) => {
      const [stream, increment] = [floatsIn(x!), floatsIn(f!)];
      const [scale, step] = [2 ** fractionBits, sign * 2 ** -fractionBits];
      const largest = LARGEST * 2 ** -fractionBits;
      const out = y!.data;
      let [saturated, outside, nan] = [0, 0, 0];
      for (let i = 0; i < increment.length; i++) {
        // Float32, as devices have it: the largest numbers become infinite, and are clipped alike.
        const steps = rint(Math.fround(increment[i]! * scale));
        let q = steps;
        if (steps > LARGEST || steps < -LARGEST) {
          q = steps > 0 ? LARGEST : -LARGEST;
          saturated++;
        } else if (Number.isNaN(steps)) {
          q = 0;
          nan++;
        }
        out[i] = stream[i]! + (q === 0 ? 0 : q * step);
        if (!(Math.abs(out[i]!) <= largest)) outside++;
      }
      counts!.data.set([saturated, outside, nan]);
    },
  },
};
