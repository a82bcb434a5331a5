import { isFloat, numel, type PrimitiveKernels, type TypedArray, ValueError } from "@revnet-zero/tensor";
import { around, type CpuView, dense, store } from "../buffer.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "take" | "scatterAdd" | "takeAlong" | "scatterAddAlong">;

/** The indices, each checked to name one of `size` places. */
export function checkedIndices(op: string, indices: CpuView, size: number): Float64Array {
  const values = dense(indices);
  const bad = values.findIndex((i) => i < 0 || i >= size);
  if (bad >= 0)
    throw new ValueError(
      op,
      `index ${values[bad]} at position ${bad} names none of ${size} places`,
      "indices count from 0; check the vocabulary or axis size",
    );
  return values;
}

const wrapOf = (dtype: CpuView["dtype"]): ((v: number) => number) => (isFloat(dtype) ? (v) => v : (v) => v | 0);

export const gatherKernels: Kernels = {
  take: {
    run: ([x, indices], [y], { axis }) => {
      const { outer, size, inner } = around(x!.shape, axis);
      const values = dense(x!);
      const places = checkedIndices("take", indices!, size);
      const out = new Float64Array(numel(y!.shape));
      for (let o = 0; o < outer; o++)
        places.forEach((place, p) => {
          for (let i = 0; i < inner; i++)
            out[(o * places.length + p) * inner + i] = values[(o * size + place) * inner + i]!;
        });
      store(y!, out);
    },
  },
  scatterAdd: {
    run: ([indices, updates], [y], { axis }) => {
      const { outer, size, inner } = around(y!.shape, axis);
      const values = dense(updates!);
      const places = checkedIndices("scatterAdd", indices!, size);
      const out = new Float64Array(numel(y!.shape));
      const wrap = wrapOf(y!.dtype);
      for (let o = 0; o < outer; o++)
        places.forEach((place, p) => {
          for (let i = 0; i < inner; i++) {
            const at = (o * size + place) * inner + i;
            out[at] = wrap(out[at]! + values[(o * places.length + p) * inner + i]!);
          }
        });
      store(y!, out);
    },
  },
  takeAlong: {
    run: ([x, indices], [y], { axis }) => {
      const { outer, size, inner } = around(x!.shape, axis);
      const count = indices!.shape[axis]!;
      const values = dense(x!);
      const places = checkedIndices("takeAlong", indices!, size);
      const out = places.map((place, at) => {
        const o = Math.floor(at / (count * inner));
        return values[(o * size + place) * inner + (at % inner)]!;
      });
      if (outer > 0) store(y!, out);
    },
  },
  scatterAddAlong: {
    run: ([indices, updates], [y], { axis }) => {
      const { size, inner } = around(y!.shape, axis);
      const count = indices!.shape[axis]!;
      const values = dense(updates!);
      const out = new Float64Array(numel(y!.shape));
      const wrap = wrapOf(y!.dtype);
      checkedIndices("scatterAddAlong", indices!, size).forEach((place, at) => {
        const o = Math.floor(at / (count * inner));
        const to = (o * size + place) * inner + (at % inner);
        out[to] = wrap(out[to]! + values[at]!);
      });
      store(y!, out);
    },
  },
};
