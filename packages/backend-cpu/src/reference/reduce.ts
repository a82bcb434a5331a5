import { contiguousStrides, isFloat, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { around, type CpuView, dense, store } from "../buffer.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "sum" | "max" | "min" | "argmax" | "argmin" | "cumsum">;

/** Folds every element into its output cell in row-major order, in float64. */
function fold(
  x: CpuView,
  y: CpuView,
  axes: readonly number[],
  start: number,
  combine: (total: number, v: number) => number,
): void {
  const kept = x.shape.map((s, d) => (axes.includes(d) ? 1 : s));
  const strides = contiguousStrides(kept).map((s, d) => (axes.includes(d) ? 0 : s));
  const totals = new Float64Array(numel(kept)).fill(start);
  const values = dense(x);
  const index = new Array<number>(x.shape.length).fill(0);
  for (const v of values) {
    const cell = index.reduce((at, i, d) => at + i * strides[d]!, 0);
    totals[cell] = combine(totals[cell]!, v);
    for (let d = index.length - 1; d >= 0 && ++index[d]! === x.shape[d]; d--) index[d] = 0;
  }
  store(y, totals);
}

/** The position of the extremum along an axis; the first of equals, and NaN beats every number. */
function position(x: CpuView, y: CpuView, axis: number, beats: (v: number, best: number) => boolean): void {
  const { outer, size, inner } = around(x.shape, axis);
  const values = dense(x);
  const out = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let best = 0;
      for (let k = 1; k < size; k++) {
        const [v, top] = [values[(o * size + k) * inner + i]!, values[(o * size + best) * inner + i]!];
        if (beats(v, top) || (Number.isNaN(v) && !Number.isNaN(top))) best = k;
      }
      out[o * inner + i] = best;
    }
  }
  store(y, out);
}

export const reduceKernels: Kernels = {
  sum: {
    run: ([x], [y], { axes }) => fold(x!, y!, axes, 0, isFloat(x!.dtype) ? (t, v) => t + v : (t, v) => (t + v) | 0),
  },
  max: { run: ([x], [y], { axes }) => fold(x!, y!, axes, Number.NEGATIVE_INFINITY, Math.max) },
  min: { run: ([x], [y], { axes }) => fold(x!, y!, axes, Number.POSITIVE_INFINITY, Math.min) },
  argmax: { run: ([x], [y], { axis }) => position(x!, y!, axis, (v, best) => v > best) },
  argmin: { run: ([x], [y], { axis }) => position(x!, y!, axis, (v, best) => v < best) },
  cumsum: {
    run: ([x], [y], { axis }) => {
      const { outer, size, inner } = around(x!.shape, axis);
      const values = dense(x!);
      const wrap = isFloat(x!.dtype) ? (v: number) => v : (v: number) => v | 0;
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < inner; i++) {
          let total = 0;
          for (let k = 0; k < size; k++) {
            const at = (o * size + k) * inner + i;
            total = wrap(total + values[at]!);
            values[at] = total;
          }
        }
      }
      store(y!, values);
    },
  },
};
