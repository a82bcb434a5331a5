import { isContiguous, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { around } from "../buffer.ts";
import { checkedIndices } from "../reference/gather.ts";
import { referenceKernels } from "../reference/index.ts";
import { indicesIn } from "./floats.ts";

/** Rows of dense tensors by index, copied whole; everything else is the reference's. */
export const gatherKernels: Pick<PrimitiveKernels<TypedArray>, "take"> = {
  take: {
    run: ([x, indices], [y], attrs) => {
      if (!isContiguous(x!)) {
        referenceKernels.take.run([x!, indices!], [y!], attrs);
        return;
      }
      const { outer, size, inner } = around(x!.shape, attrs.axis);
      const places = indicesIn(indices!);
      if (places.some((p) => p < 0 || p >= size)) checkedIndices("take", indices!, size);
      const [from, to] = [x!.data, y!.data];
      for (let o = 0, at = 0; o < outer; o++) {
        const start = x!.offset + o * size * inner;
        for (const place of places) {
          const row = start + place * inner;
          if (inner === 1) to[at] = from[row]!;
          else to.set(from.subarray(row, row + inner), at);
          at += inner;
        }
      }
    },
  },
};
