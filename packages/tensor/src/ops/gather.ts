import { findKernel } from "../backend.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type OpDef, type PrimitiveOp, primitive } from "../op.ts";
import { checkAxes, checkShape, sameShape } from "../shape.ts";

function needsIndices(name: string, indices: Meta): void {
  if (indices.dtype !== "i32")
    throw new DTypeError(name, `indices must be i32, got ${describe(indices)}`, 'cast them: indices.cast("i32")');
}

export interface AxisAttrs {
  readonly axis: number;
}

/** `x[..., indices, ...]` along one axis: `[a, n, b]` with indices `[i, j]` on axis 1 gives `[a, i, j, b]`. */
export const take: PrimitiveOp<AxisAttrs> = primitive({
  name: "take",
  arity: 2,
  doc: "slices of x along an axis at i32 indices; an index out of range is an error on the CPU",
  meta: ([x, indices], { axis }) => {
    needsIndices("take", indices!);
    checkAxes("take", [axis], x!.shape.length);
    return [{ shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], dtype: x!.dtype }];
  },
  flops: () => 0,
  gradient: {
    saves: () => ({ inputs: [1] }),
    vjp: ({ gradient, input, inputs: [x], takeReceived }, { axis }) => {
      const isOnePass = findKernel(gradient.engine.backend, scatterAddTo as OpDef<never>) !== undefined;
      const sum = isOnePass && gradient.dtype === "f32" && x!.dtype === "f32" ? takeReceived(0) : undefined;
      if (sum === undefined) return [gradient.apply(scatterAdd, [input(1), gradient], { axis, size: x!.shape[axis]! })];
      const total = gradient.apply(scatterAddTo, [sum, input(1), gradient], { axis });
      sum.dispose();
      return [total];
    },
  },
});

/** The sums of updates at indices. */
function scatterMeta(
  name: string,
  inputs: readonly Meta[],
  { axis, size }: AxisAttrs & { readonly size: number },
): [Meta] {
  const [indices, updates] = inputs as [Meta, Meta];
  needsIndices(name, indices);
  const rank = indices.shape.length;
  if (!sameShape(updates.shape.slice(axis, axis + rank), indices.shape)) {
    throw new ShapeError(
      name,
      `updates do not carry the indices' shape at axis ${axis}: ${describeAll(inputs)}`,
      "updates are [...before, ...indices, ...after], as take gives them",
    );
  }
  checkAxes(name, [axis], updates.shape.length - rank + 1);
  checkShape(name, [size]);
  return [
    { shape: [...updates.shape.slice(0, axis), size, ...updates.shape.slice(axis + rank)], dtype: updates.dtype },
  ];
}

/**
 * The transpose of `take`: zeros with `size` slices along `axis`, to which updates are added at the indices. Updates
 * to one place are added in ascending order of their position: deterministic on every backend.
 */
export const scatterAdd: PrimitiveOp<AxisAttrs & { readonly size: number }> = primitive({
  name: "scatterAdd",
  arity: 2,
  doc: "sums updates into zeros at i32 indices along an axis, in order",
  meta: (inputs, attrs) => scatterMeta("scatterAdd", inputs, attrs),
  gradient: {
    saves: () => ({ inputs: [0] }),
    vjp: ({ gradient, input }, { axis }) => [undefined, gradient.take(input(0), axis)],
  },
});

/**
 * x + scatterAdd(indices, updates), in place: the sum of the updates to a place is made first, and rounded as if it had been an op of its
 * own. Inputs: x, indices, updates.
 */
export const scatterAddTo: FusedOp<AxisAttrs> = fused({
  name: "scatterAddTo",
  arity: 3,
  doc: "adds the sums of updates at i32 indices along an axis to x, in place",
  mutates: () => [0],
  meta: ([x, ...rest], { axis }) => {
    checkAxes("scatterAddTo", [axis], x!.shape.length);
    const [sums] = scatterMeta("scatterAddTo", rest, { axis, size: x!.shape[axis]! });
    if (!sameShape(sums.shape, x!.shape) || sums.dtype !== x!.dtype) {
      throw new ShapeError(
        "scatterAddTo",
        `the sums are ${describe(sums)}, and are to be added to ${describe(x!)}`,
        "updates are [...before, ...indices, ...after] of x, in its dtype",
      );
    }
    return [x!];
  },
  decompose: ([x, ...rest], { axis }) => [
    x!.assign(x!.add(x!.apply(scatterAdd, rest, { axis, size: x!.shape[axis]! }))),
  ],
  gradient: "none",
});

function alongMeta(name: string, inputs: readonly Meta[], axis: number): void {
  const [x, indices] = inputs as [Meta, Meta];
  needsIndices(name, indices);
  if (x.shape.length !== indices.shape.length || x.shape.some((s, d) => d !== axis && s !== indices.shape[d])) {
    throw new ShapeError(
      name,
      `operands must agree on every axis but ${axis}: ${describeAll(inputs)}`,
      "unsqueeze or expand the indices to the tensor's axes",
    );
  }
  checkAxes(name, [axis], x.shape.length);
}

/** One element per index: `y[i][j] = x[i][indices[i][j]]` for axis 1. */
export const takeAlong: PrimitiveOp<AxisAttrs> = primitive({
  name: "takeAlong",
  arity: 2,
  doc: "elements of x along an axis at i32 indices of the same rank",
  meta: (inputs, { axis }) => {
    alongMeta("takeAlong", inputs, axis);
    return [{ shape: inputs[1]!.shape, dtype: inputs[0]!.dtype }];
  },
  flops: () => 0,
  gradient: {
    saves: () => ({ inputs: [1] }),
    vjp: ({ gradient, input, inputs: [x] }, { axis }) => [
      gradient.apply(scatterAddAlong, [input(1), gradient], { axis, size: x!.shape[axis]! }),
    ],
  },
});

export const scatterAddAlong: PrimitiveOp<AxisAttrs & { readonly size: number }> = primitive({
  name: "scatterAddAlong",
  arity: 2,
  doc: "sums single elements into zeros along an axis at i32 indices of the same shape, in order",
  meta: (inputs, { axis, size }) => {
    const [indices, updates] = inputs as [Meta, Meta];
    needsIndices("scatterAddAlong", indices);
    if (!sameShape(indices.shape, updates.shape))
      throw new ShapeError("scatterAddAlong", `shapes differ: ${describeAll(inputs)}`, "one index for every update");
    checkAxes("scatterAddAlong", [axis], updates.shape.length);
    checkShape("scatterAddAlong", [size]);
    return [{ shape: updates.shape.map((s, d) => (d === axis ? size : s)), dtype: updates.dtype }];
  },
  gradient: {
    saves: () => ({ inputs: [0] }),
    vjp: ({ gradient, input }, { axis }) => [undefined, gradient.takeAlong(input(0), axis)],
  },
});
