import type { DType } from "../dtype.ts";
import { isFloat } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { reshapeLayout } from "../layout.ts";
import { scatterAdd, take, takeAlong } from "../ops/gather.ts";
import { concat, pad, writeSlice } from "../ops/move.ts";
import { sort, topk } from "../ops/sort.ts";
import { expand, flip, permute, reshape, slice, split } from "../ops/view.ts";
import { checkShape, normalizeAxes, normalizeAxis, numel, type Shape, sameShape } from "../shape.ts";
import type { ReshapeShape } from "../types.ts";
import { arange } from "./create.ts";
import { ReduceTensor } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

/** Shapes, parts and places. Views share memory; nothing here computes. */
export abstract class MovementTensor<S extends Shape = Shape> extends ReduceTensor<S> {
  /** The elements in row-major order under another shape; one size may be -1. Copies only when strides cannot say it. */
  reshape<const T extends Shape>(shape: T): Tensor<ReshapeShape<T>> {
    const wanted = resolveShape(this.shape, shape);
    if (sameShape(wanted, this.shape)) return this.self as unknown as Tensor<ReshapeShape<T>>;
    const fits = numel(wanted) !== this.size || reshapeLayout(this.layout, wanted) !== undefined;
    const x = fits ? this.self : this.clone();
    const out = this.apply(reshape, [x], { shape: wanted });
    if (!fits) x.dispose();
    return out as unknown as Tensor<ReshapeShape<T>>;
  }
  flatten(): Tensor {
    return this.reshape([-1]);
  }
  /** Axes in the given order. */
  permute(axes: readonly number[]): Tensor {
    return this.apply(permute, [this.self], { axes: axes.map((a) => normalizeAxis("permute", a, this.rank)) });
  }
  /** The last two axes exchanged. */
  transpose(): Tensor {
    return this.swapAxes(-1, -2);
  }
  swapAxes(a: number, b: number): Tensor {
    const order = this.shape.map((_, d) => d);
    const [i, j] = [normalizeAxis("swapAxes", a, this.rank), normalizeAxis("swapAxes", b, this.rank)];
    [order[i], order[j]] = [j, i];
    return this.permute(order);
  }
  /** Repeats axes of size 1, and new leading axes, to `shape` without copying. */
  expand(shape: Shape): Tensor {
    return sameShape(shape, this.shape) ? this.self : this.apply(expand, [this.self], { shape });
  }
  /** A new axis of size 1 at `axis`. */
  unsqueeze(axis: number): Tensor {
    const a = normalizeAxis("unsqueeze", axis, this.rank + 1);
    return this.reshape([...this.shape.slice(0, a), 1, ...this.shape.slice(a)]);
  }
  /** Drops an axis of size 1, or all of them. */
  squeeze(axis?: number): Tensor {
    if (axis === undefined) return this.reshape(this.shape.filter((s) => s !== 1));
    const a = normalizeAxis("squeeze", axis, this.rank);
    if (this.shape[a] !== 1)
      throw new ShapeError(
        "squeeze",
        `axis ${axis} of [${this.shape.join(", ")}] has size ${this.shape[a]}`,
        "only axes of size 1 can go",
      );
    return this.reshape(this.shape.filter((_, d) => d !== a));
  }
  /** The rectangle of `sizes` at `starts`. */
  slice(starts: readonly number[], sizes: readonly number[]): Tensor {
    return this.apply(slice, [this.self], { starts, sizes });
  }
  /** `size` slices along one axis, from `start` (negative counts from the end). */
  narrow(axis: number, start: number, size: number): Tensor {
    const a = normalizeAxis("narrow", axis, this.rank);
    const from = start < 0 ? start + this.shape[a]! : start;
    return this.slice(
      this.shape.map((_, d) => (d === a ? from : 0)),
      this.shape.map((s, d) => (d === a ? size : s)),
    );
  }
  /** Parts along an axis: so many equal ones, or of the given sizes, which add up to the axis. */
  split(parts: number | readonly number[], axis = -1): Tensor[] {
    const a = normalizeAxis("split", axis, this.rank);
    if (typeof parts !== "number") return this.applyAll(split, [this.self], { axis: a, sizes: parts });
    const size = this.shape[a]! / parts;
    if (!Number.isInteger(size) || !(parts > 0))
      throw new ShapeError(
        "split",
        `axis ${axis} of [${this.shape.join(", ")}] does not divide into ${parts} parts`,
        "pass the sizes of the parts: split([2, 3], axis)",
      );
    return this.split(new Array<number>(parts).fill(size), a);
  }
  flip(axes?: number | readonly number[]): Tensor {
    return this.apply(flip, [this.self], { axes: normalizeAxes("flip", axes, this.rank) });
  }
  /** A border of `value`: [before, after] for every axis. */
  pad(pads: readonly (readonly [number, number])[], value = 0): Tensor {
    return this.apply(pad, [this.self], { pads, value });
  }
  /** This tensor, then the others, along an axis. */
  concat(others: readonly Tensor[], axis = 0): Tensor {
    return this.apply(concat, [this.self, ...others], { axis: normalizeAxis("concat", axis, this.rank) });
  }
  /** A copy with the rectangle at `starts` replaced. */
  writeSlice(part: Tensor, starts: readonly number[]): Tensor {
    return this.apply(writeSlice, [this.self, part], { starts });
  }
  /** Slices along an axis at i32 indices. */
  take(indices: Tensor, axis = 0): Tensor {
    return this.apply(take, [this.self, indices], { axis: normalizeAxis("take", axis, this.rank) });
  }
  /** Single elements along an axis at i32 indices of the same rank. */
  takeAlong(indices: Tensor, axis = -1): Tensor {
    return this.apply(takeAlong, [this.self, indices], { axis: normalizeAxis("takeAlong", axis, this.rank) });
  }
  /** Zeros with `size` slices along `axis`, to which this tensor's slices are added at the indices, in order. */
  scatterAdd(indices: Tensor, axis: number, size: number): Tensor {
    return this.apply(scatterAdd, [indices, this.self], { axis: normalizeAxis("scatterAdd", axis, this.rank), size });
  }
  /** Stable, NaN last. */
  sort(
    axis = -1,
    { descending = false }: { readonly descending?: boolean } = {},
  ): { readonly values: Tensor; readonly indices: Tensor } {
    const [values, indices] = this.applyAll(sort, [this.self], {
      axis: normalizeAxis("sort", axis, this.rank),
      descending,
    });
    return { values: values!, indices: indices! };
  }
  /** The k largest along an axis, largest first. */
  topk(k: number, axis = -1): { readonly values: Tensor; readonly indices: Tensor } {
    const [values, indices] = this.applyAll(topk, [this.self], { axis: normalizeAxis("topk", axis, this.rank), k });
    return { values: values!, indices: indices! };
  }
  /** 0, 1, ..., n - 1 on the same engine. */
  rangeOf(n: number, dtype: DType = isFloat(this.dtype) ? this.dtype : "i32"): Tensor {
    return arange(n, { dtype, engine: this.engine });
  }
}

function resolveShape(from: Shape, to: Shape): Shape {
  const unknown = to.indexOf(-1);
  if (unknown < 0) {
    checkShape("reshape", to);
    return to;
  }
  const rest = numel(to.filter((_, d) => d !== unknown));
  const size = numel(from) / rest;
  if (to.lastIndexOf(-1) !== unknown || !Number.isInteger(size)) {
    throw new ShapeError(
      "reshape",
      `[${from.join(", ")}] does not fit [${to.join(", ")}]`,
      "one size may be -1 and the others must divide the number of elements",
    );
  }
  return to.map((s, d) => (d === unknown ? size : s));
}
