import {
  type BufferView,
  contiguousStrides,
  isContiguous,
  numel,
  type PrimitiveKernels,
  type TypedArray,
} from "@revnet-zero/tensor";
import { caster } from "../../buffer.ts";
import { identity } from "../../plain/copy.ts";
import { plainKernels } from "../../plain/index.ts";
import { conversion } from "../vector/conversion.ts";
import type { ElementwiseKernels } from "./elementwise.ts";

type View = BufferView<TypedArray>;
type Kernels = Pick<PrimitiveKernels<TypedArray>, "copy" | "cast" | "pad" | "concat" | "writeSlice">;

/** The rectangle of a row-major output that starts at `starts`. */
function rectangle(y: View, sizes: readonly number[], starts: readonly number[]): View {
  const strides = contiguousStrides(y.shape);
  const offset = starts.reduce((at, s, d) => at + s * strides[d]!, y.offset);
  return { data: y.data, dtype: y.dtype, shape: sizes, strides, offset };
}

/** Floats of 16 bits as the words they are, so that a copy keeps every NaN. */
const words = (v: View): View => (v.dtype === "bf16" || v.dtype === "f16" ? { ...v, dtype: "i16" } : v);

/** What only moves elements, as loops of the identity. */
export function moveKernels(elementwise: ElementwiseKernels): Kernels {
  const copy = (x: View, y: View): boolean => elementwise.run(identity, undefined, [words(x)], words(y));
  return {
    copy: {
      run: ([x], [y], attrs) => {
        if (isContiguous(x!) || !copy(x!, y!)) plainKernels.copy.run([x!], [y!], attrs);
      },
    },
    cast: {
      run: ([x], [y], attrs) => {
        if (!elementwise.run(conversion, undefined, [x!], y!)) plainKernels.cast.run([x!], [y!], attrs);
      },
    },
    pad: {
      run: ([x], [y], attrs) => {
        const { pads, value } = attrs;
        y!.data.fill(caster(y!.dtype)(value), 0, numel(y!.shape));
        const starts = pads.map(([before]) => before);
        if (!copy(x!, rectangle(y!, x!.shape, starts))) plainKernels.pad.run([x!], [y!], attrs);
      },
    },
    concat: {
      run: (inputs, [y], attrs) => {
        const { axis } = attrs;
        let start = 0;
        for (const x of inputs) {
          const starts = x.shape.map((_, d) => (d === axis ? start : 0));
          if (!copy(x, rectangle(y!, x.shape, starts))) {
            plainKernels.concat.run(inputs, [y!], attrs);
            return;
          }
          start += x.shape[axis]!;
        }
      },
    },
    writeSlice: {
      run: ([x, part], [y], attrs) => {
        // Donated: what is around the part is there already.
        const isInPlace = x!.data === y!.data;
        const isWhole = isInPlace || copy(x!, y!);
        if (!isWhole || !copy(part!, rectangle(y!, part!.shape, attrs.starts)))
          plainKernels.writeSlice.run([x!, part!], [y!], attrs);
      },
    },
  };
}
