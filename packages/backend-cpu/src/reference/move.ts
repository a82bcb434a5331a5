import { contiguousStrides, numel, type PrimitiveKernels, type Shape, type TypedArray } from "@revnet-zero/tensor";
import { around, type CpuView, caster, decoder, dense, offsets, store } from "../buffer.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "pad" | "concat" | "writeSlice" | "sort">;

/** Writes dense values into the rectangle of a row-major array that starts at `starts`. */
function place(
  target: Float64Array,
  shape: Shape,
  values: Float64Array,
  sizes: Shape,
  starts: readonly number[],
): void {
  const strides = contiguousStrides(shape);
  const offset = starts.reduce((at, s, d) => at + s * strides[d]!, 0);
  let i = 0;
  for (const at of offsets({ shape: sizes, strides, offset })) target[at] = values[i++]!;
}

/** Ascending or descending, NaN last in both, equal elements in their first order. */
function order(a: number, b: number, descending: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(b) ? (Number.isNaN(a) ? 0 : -1) : 1;
  return descending ? b - a || 0 : a - b || 0;
}

function sortAlong(x: CpuView, values: CpuView, indices: CpuView, axis: number, descending: boolean): void {
  const { outer, size, inner } = around(x.shape, axis);
  const source = dense(x);
  const sorted = new Float64Array(source.length);
  const from = new Float64Array(source.length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (k: number): number => (o * size + k) * inner + i;
      const ranks = Array.from({ length: size }, (_, k) => k).sort((p, q) =>
        order(source[at(p)]!, source[at(q)]!, descending),
      );
      ranks.forEach((k, r) => {
        sorted[at(r)] = source[at(k)]!;
        from[at(r)] = k;
      });
    }
  store(values, sorted);
  store(indices, from);
}

export const moveKernels: Kernels = {
  pad: {
    run: ([x], [y], { pads, value }) => {
      // The border is cast like a constant, so that -inf in an integer tensor is its least value.
      const border = decoder(y!.dtype)(caster(y!.dtype)(value));
      const out = new Float64Array(numel(y!.shape)).fill(border);
      place(
        out,
        y!.shape,
        dense(x!),
        x!.shape,
        pads.map(([before]) => before),
      );
      store(y!, out);
    },
  },
  concat: {
    run: (inputs, [y], { axis }) => {
      const out = new Float64Array(numel(y!.shape));
      let start = 0;
      for (const x of inputs) {
        place(
          out,
          y!.shape,
          dense(x),
          x.shape,
          x.shape.map((_, d) => (d === axis ? start : 0)),
        );
        start += x.shape[axis]!;
      }
      store(y!, out);
    },
  },
  writeSlice: {
    run: ([x, part], [y], { starts }) => {
      const out = dense(x!);
      place(out, y!.shape, dense(part!), part!.shape, starts);
      store(y!, out);
    },
  },
  sort: { run: ([x], [values, indices], { axis, descending }) => sortAlong(x!, values!, indices!, axis, descending) },
};
