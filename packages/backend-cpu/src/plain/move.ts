import { type BufferView, contiguousStrides, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { caster } from "../buffer.ts";
import { identity } from "./copy.ts";
import { runElementwise } from "./elementwise.ts";

type View = BufferView<TypedArray>;
type Kernels = Pick<PrimitiveKernels<TypedArray>, "pad" | "concat" | "writeSlice">;

/** Copies elements of one type to any places of another buffer. */
export type Copy = (from: View, to: View) => void;

/** The rectangle of a row-major output that starts at `starts`. */
function rectangle(y: View, sizes: readonly number[], starts: readonly number[]): View {
  const strides = contiguousStrides(y.shape);
  const offset = starts.reduce((at, s, d) => at + s * strides[d]!, y.offset);
  return { data: y.data, dtype: y.dtype, shape: sizes, strides, offset };
}

/** Floats of 16 bits as the words they are, so that a copy keeps every NaN. */
export const words = (v: View): View => (v.dtype === "bf16" || v.dtype === "f16" ? { ...v, dtype: "i16" } : v);

/** As a loop of the identity. */
export const copyElements: Copy = (from, to) => runElementwise(identity, undefined, [words(from)], words(to));

/** What moves elements into rectangles, by any way to copy. */
export const moveKernels = (copy: Copy): Kernels => ({
  pad: {
    run: ([x], [y], { pads, value }) => {
      y!.data.fill(caster(y!.dtype)(value), 0, numel(y!.shape));
      const starts = pads.map(([before]) => before);
      copy(x!, rectangle(y!, x!.shape, starts));
    },
  },
  concat: {
    run: (inputs, [y], { axis }) => {
      let start = 0;
      for (const x of inputs) {
        const starts = x.shape.map((_, d) => (d === axis ? start : 0));
        copy(x, rectangle(y!, x.shape, starts));
        start += x.shape[axis]!;
      }
    },
  },
  writeSlice: {
    run: ([x, part], [y], { starts }) => {
      // Donated: what is around the part is there already.
      if (x!.data !== y!.data) copy(x!, y!);
      copy(part!, rectangle(y!, part!.shape, starts));
    },
  },
});
