import { numel, type Shape } from "./shape.ts";

/** How a tensor's elements lie in its storage: element `i` is at `offset + sum(i[d] * strides[d])`, in elements. */
export interface Layout {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d]!;
  }
  return strides;
}

export const contiguous = (shape: Shape): Layout => ({ shape, strides: contiguousStrides(shape), offset: 0 });

/** Row-major without gaps; strides of axes of size 1 do not matter. */
export function isContiguous({ shape, strides }: Layout): boolean {
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== step) return numel(shape) === 0;
    step *= shape[d]!;
  }
  return true;
}

/**
 * Strides that show `layout` as `shape` without moving data, or undefined when only a copy can. Axes of the old
 * layout are merged where they are contiguous in memory, then split (the rule of NumPy's no-copy reshape).
 */
export function reshapeLayout(layout: Layout, shape: Shape): Layout | undefined {
  const { offset } = layout;
  if (numel(shape) === 0 || isContiguous(layout)) return { shape, strides: contiguousStrides(shape), offset };
  const old = layout.shape.flatMap((size, d) => (size === 1 ? [] : [{ size, stride: layout.strides[d]! }]));
  const strides = new Array<number>(shape.length).fill(1);
  let i = 0;
  for (let d = 0; d < shape.length; ) {
    if (shape[d] === 1) {
      d++;
      continue;
    }
    let end = d + 1;
    let from = i + 1;
    let newSize = shape[d]!;
    let oldSize = old[i]?.size ?? 1;
    while (newSize !== oldSize) {
      if (newSize < oldSize) newSize *= shape[end++]!;
      else oldSize *= old[from++]!.size;
    }
    for (let j = i; j + 1 < from; j++) if (old[j]!.stride !== old[j + 1]!.stride * old[j + 1]!.size) return undefined;
    let step = old[from - 1]!.stride;
    for (let e = end - 1; e >= d; e--) {
      strides[e] = step;
      step *= shape[e]!;
    }
    d = end;
    i = from;
  }
  return { shape, strides, offset };
}
