import { numel, type Shape } from "@revnet-zero/tensor";

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
