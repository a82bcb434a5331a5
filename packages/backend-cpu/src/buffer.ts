import {
  type BufferView,
  type DType,
  dtypes,
  fromBf16,
  fromF16,
  isContiguous,
  numel,
  type Shape,
  type TypedArray,
  toBf16,
  toF16,
} from "@revnet-zero/tensor";
import { saturate } from "./rounding.ts";

export type CpuView = BufferView<TypedArray>;

/** Reads one stored word of a dtype as a number. */
export function decoder(dtype: DType): (word: number) => number {
  if (dtype === "bf16") return fromBf16;
  if (dtype === "f16") return fromF16;
  return (w) => w;
}

/** The word that stores a number: floats rounded to nearest even, integers as they are (the array wraps them). */
export function encoder(dtype: DType): (value: number) => number {
  if (dtype === "bf16") return toBf16;
  if (dtype === "f16") return toF16;
  if (dtype === "bool") return (v) => (v !== 0 ? 1 : 0);
  return (v) => v;
}

/** Like `encoder`, for conversions between kinds: floats become integers toward zero, saturating, NaN as 0. */
export function caster(dtype: DType): (value: number) => number {
  const { range } = dtypes[dtype];
  return range === undefined || dtype === "bool" ? encoder(dtype) : (v) => saturate(v, range);
}

/** Offsets of all elements of a view in row-major order. */
export function* offsets({
  shape,
  strides,
  offset,
}: {
  shape: Shape;
  strides: readonly number[];
  offset: number;
}): Generator<number> {
  const rank = shape.length;
  const index = new Array<number>(rank).fill(0);
  let at = offset;
  for (let left = numel(shape); left > 0; left--) {
    yield at;
    for (let d = rank - 1; d >= 0; d--) {
      at += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      at -= shape[d]! * strides[d]!;
      index[d] = 0;
    }
  }
}

/** The values of a view, dense and row-major, in float64: every stored value of every dtype exactly. */
export function dense(view: CpuView): Float64Array {
  const out = new Float64Array(numel(view.shape));
  const decode = decoder(view.dtype);
  if (isContiguous(view)) {
    for (let i = 0; i < out.length; i++) out[i] = decode(view.data[view.offset + i]!);
    return out;
  }
  let i = 0;
  for (const at of offsets(view)) out[i++] = decode(view.data[at]!);
  return out;
}

/** Stores dense values into an output, rounding once. */
export function store(
  view: CpuView,
  values: ArrayLike<number>,
  encode: (value: number) => number = encoder(view.dtype),
): void {
  for (let i = 0; i < values.length; i++) view.data[i] = encode(values[i]!);
}

/** A shape as [outer, size, inner] of row-major data. */
export interface Split {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

/** Splits a shape around an axis. */
export function around(shape: Shape, axis: number): Split {
  return { outer: numel(shape.slice(0, axis)), size: shape[axis]!, inner: numel(shape.slice(axis + 1)) };
}

/** Splits a shape around ascending axes as if they were one; undefined where they are no neighbours. */
export function aroundAll(shape: Shape, axes: readonly number[]): Split | undefined {
  const [first, last] = [axes[0] ?? 0, axes[axes.length - 1] ?? -1];
  if (last - first + 1 !== axes.length) return undefined;
  return {
    outer: numel(shape.slice(0, first)),
    size: numel(shape.slice(first, last + 1)),
    inner: numel(shape.slice(last + 1)),
  };
}
