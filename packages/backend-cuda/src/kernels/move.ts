import {
  contiguousStrides,
  dtypes,
  type FusedKernels,
  numel,
  type PrimitiveKernels,
  type Shape,
  toWords,
} from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { wordType } from "../device/sources.ts";
import type { Context } from "./context.ts";

type Kernels = Pick<
  PrimitiveKernels<Block>,
  "fill" | "copy" | "cast" | "assign" | "pad" | "concat" | "writeSlice" | "randomBits"
> &
  Pick<FusedKernels<Block>, "overwrite">;

/** The rectangle of an output that starts at `starts`. */
function part(view: CudaView, shape: Shape, starts: readonly number[]): CudaView {
  const strides = contiguousStrides(view.shape);
  return { ...view, shape, strides, offset: starts.reduce((at, s, d) => at + s * strides[d]!, 0) };
}

/** The bits that store a number, in 64 bits: low word, high word. Integers saturate, as `cast` does. */
function wordsOf(value: number, view: CudaView): [number, number] {
  const { range, kind } = dtypes[view.dtype];
  const saturated =
    range === undefined || kind === "bool" ? value : Math.trunc(Math.min(Math.max(value, range[0]), range[1])) || 0;
  const array = toWords([kind === "bool" ? (value !== 0 ? 1 : 0) : saturated], view.dtype);
  const bytes = new Uint8Array(8);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  const words = new DataView(bytes.buffer);
  return [words.getUint32(0, true), words.getUint32(4, true)];
}

/** Kernels that change no number: they write constants, copy, convert, and place parts. */
export function moveKernels({ device, elementwise }: Context): Kernels {
  const fill = (y: CudaView, value: number): void => {
    const kernel = device.kernel({ files: ["chain", "fill"], types: { T: wordType(y.dtype) } }, "fill");
    const n = numel(y.shape);
    device.parameters
      .start()
      .pointer(addressOf(y))
      .words(...wordsOf(value, y))
      .long(n);
    device.launchOver(kernel, n);
  };
  return {
    fill: { run: (_, [y], { value }) => fill(y!, value) },
    copy: { run: ([x], [y]) => elementwise.copy(x!, y!) },
    cast: { run: ([x], [y]) => elementwise.cast(x!, y!) },
    assign: { run: ([, value], [y]) => elementwise.copy(value!, y!) },
    pad: {
      run: ([x], [y], { pads, value }) => {
        fill(y!, value);
        elementwise.copy(
          x!,
          part(
            y!,
            x!.shape,
            pads.map(([before]) => before),
          ),
        );
      },
    },
    concat: {
      run: (inputs, [y], { axis }) => {
        let start = 0;
        for (const x of inputs) {
          elementwise.copy(
            x,
            part(
              y!,
              x.shape,
              x.shape.map((_, d) => (d === axis ? start : 0)),
            ),
          );
          start += x.shape[axis]!;
        }
      },
    },
    writeSlice: {
      run: ([x, replacement], [y], { starts }) => {
        if (x!.data !== y!.data) elementwise.copy(x!, y!);
        elementwise.copy(replacement!, part(y!, replacement!.shape, starts));
      },
    },
    overwrite: {
      run: ([, replacement], [y], { starts }) => elementwise.copy(replacement!, part(y!, replacement!.shape, starts)),
    },
    randomBits: {
      run: (_, [y], { key }) => {
        const n = numel(y!.shape);
        const kernel = device.kernel({ files: ["random"] }, "randomBits");
        device.parameters.start().pointer(addressOf(y!)).long(n).key(device.graphs.placeOf(key), key);
        device.launchOver(kernel, Math.ceil(n / 4));
      },
    },
  };
}
