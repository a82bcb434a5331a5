import { dtypes, type FusedKernels, type TypedArray } from "@revnet-zero/tensor";
import { fixed } from "../rounding.ts";
import { floatsIn, integersIn } from "./floats.ts";

/** Quantise, wrap-add and count in one pass; safe over its own input. */
export const channelFixedPointKernel: Pick<FusedKernels<TypedArray>, "channelFixedPointAdd"> = {
  channelFixedPointAdd: {
    run: ([x, f, scale], [y, counts], { sign }) => {
      const [stream, increment, scales] = [integersIn(x!), floatsIn(f!), floatsIn(scale!)];
      const [low, high] = dtypes[x!.dtype].range!;
      const out = y!.data;
      const channels = scales.length;
      let [saturated, wrapped, nan] = [0, 0, 0];
      for (let i = 0, c = 0; i < increment.length; i++) {
        const v = increment[i]! * scales[c]!;
        if (++c === channels) c = 0;
        const wide = fixed(v);
        const q = Math.max(Math.min(wide, high), low);
        const sum = stream[i]! + sign * q;
        if (q !== wide) saturated++;
        else if (Number.isNaN(v)) nan++;
        out[i] = sum;
        if (out[i] !== sum) wrapped++;
      }
      counts!.data.set([saturated, wrapped, nan]);
    },
  },
};
