import { gradientDType } from "../dtype.ts";
import { ShapeError, ValueError } from "../errors.ts";
import { contiguousStrides, type Layout, reshapeLayout } from "../layout.ts";
import { type Meta, type ViewOp, view } from "../op.ts";
import { checkAxes, checkShape, numel, type Shape } from "../shape.ts";

// Views change strides, never data. Attributes are already normalised (axes 0..rank-1, sizes resolved).

const metaOf =
  <A>(rule: ViewOp<A>["view"]) =>
  ([x]: readonly Meta[], attrs: A): readonly Meta[] =>
    rule({ shape: x!.shape, strides: contiguousStrides(x!.shape), offset: 0 }, attrs).map(({ shape }) => ({
      shape,
      dtype: x!.dtype,
    }));

const define = <A>(
  name: string,
  doc: string,
  rule: (input: Layout, attrs: A) => Layout,
  vjp: ViewOp<A>["gradient"]["vjp"],
): ViewOp<A> => defineAll(name, doc, (x, attrs) => [rule(x, attrs)], vjp);

function defineAll<A>(
  name: string,
  doc: string,
  rule: ViewOp<A>["view"],
  vjp: ViewOp<A>["gradient"]["vjp"],
): ViewOp<A> {
  return view<A>({
    name,
    arity: 1,
    doc,
    meta: metaOf(rule),
    view: rule,
    flops: () => 0,
    gradient: { saves: () => ({}), vjp },
  });
}

/** The same tensor as a new node of the graph: what a transform differentiates by. */
export const alias: ViewOp = define(
  "alias",
  "the same values as a node of their own",
  (x) => x,
  ({ gradient }) => [gradient],
);

/** The caller has made sure (or copied so) that the layout can be shown in the new shape. */
export const reshape: ViewOp<{ readonly shape: Shape }> = define(
  "reshape",
  "the elements in row-major order under another shape",
  (x, { shape }) => {
    checkShape("reshape", shape);
    if (numel(shape) !== numel(x.shape)) {
      throw new ShapeError(
        "reshape",
        `[${x.shape.join(", ")}] has ${numel(x.shape)} elements, [${shape.join(", ")}] has ${numel(shape)}`,
        "the products of the sizes must agree; one size may be -1",
      );
    }
    const seen = reshapeLayout(x, shape);
    if (seen === undefined) throw new Error("reshape: layout needs a copy first");
    return seen;
  },
  ({ gradient, inputs: [x] }) => [gradient.reshape(x!.shape)],
);

export const permute: ViewOp<{ readonly axes: readonly number[] }> = define(
  "permute",
  "axes in another order",
  (x, { axes }) => {
    checkAxes("permute", axes, x.shape.length);
    if (axes.length !== x.shape.length) {
      throw new ValueError(
        "permute",
        `[${axes.join(", ")}] does not order the ${x.shape.length} axes of [${x.shape.join(", ")}]`,
        "name every axis once",
      );
    }
    return {
      shape: axes.map((a) => x.shape[a]!),
      strides: axes.map((a) => x.strides[a]!),
      offset: x.offset,
    };
  },
  ({ gradient }, { axes }) => {
    const inverse = new Array<number>(axes.length);
    axes.forEach((a, i) => {
      inverse[a] = i;
    });
    return [gradient.permute(inverse)];
  },
);

export const expand: ViewOp<{ readonly shape: Shape }> = define(
  "expand",
  "axes of size 1 (and new leading axes) repeated without copying",
  (x, { shape }) => {
    checkShape("expand", shape);
    const lead = shape.length - x.shape.length;
    const fits = lead >= 0 && x.shape.every((s, d) => s === shape[d + lead] || s === 1);
    if (!fits) {
      throw new ShapeError(
        "expand",
        `[${x.shape.join(", ")}] does not expand to [${shape.join(", ")}]`,
        "only axes of size 1 can be repeated",
      );
    }
    return {
      shape,
      strides: shape.map((s, d) => (d < lead || x.shape[d - lead] !== s ? 0 : x.strides[d - lead]!)),
      offset: x.offset,
    };
  },
  ({ gradient, inputs: [x] }) => [gradient.sumTo(x!.shape)],
);

export interface SliceAttrs {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
}

export const slice: ViewOp<SliceAttrs> = define(
  "slice",
  "a rectangular part",
  (x, { starts, sizes }) => {
    const rank = x.shape.length;
    // Sizes are easily forgotten where types are not checked: Array's slice takes none.
    if (starts?.length !== rank || sizes?.length !== rank) {
      throw new ValueError(
        "slice",
        `needs ${rank} starts and sizes, got ${starts?.length ?? "none"} and ${sizes?.length ?? "none"}`,
        "narrow(axis, start, size) cuts one axis",
      );
    }
    starts.forEach((s, d) => {
      if (
        !Number.isInteger(s) ||
        !Number.isInteger(sizes[d]) ||
        s < 0 ||
        sizes[d]! < 0 ||
        s + sizes[d]! > x.shape[d]!
      ) {
        throw new ValueError(
          "slice",
          `[${s}, ${s + sizes[d]!}) leaves axis ${d} of [${x.shape.join(", ")}]`,
          "starts and sizes are whole numbers, and start + size stays inside",
        );
      }
    });
    return {
      shape: sizes,
      strides: x.strides,
      offset: x.offset + starts.reduce((o, s, d) => o + s * x.strides[d]!, 0),
    };
  },
  ({ gradient, inputs: [x] }, { starts, sizes }) => [
    gradient.pad(starts.map((s, d) => [s, x!.shape[d]! - s - sizes[d]!] as const)),
  ],
);

export interface SplitAttrs {
  readonly axis: number;
  readonly sizes: readonly number[];
}

/** One op and not a slice a part: its gradient is one concatenation, not a padded tensor and a sum for every part. */
export const split: ViewOp<SplitAttrs> = defineAll(
  "split",
  "parts of the given sizes along an axis, all of it",
  (x, { axis, sizes }) => {
    checkAxes("split", [axis], x.shape.length);
    const total = sizes.reduce((sum, s) => sum + s, 0);
    if (sizes.length === 0 || sizes.some((s) => !Number.isInteger(s) || s < 0) || total !== x.shape[axis]) {
      throw new ShapeError(
        "split",
        `sizes [${sizes.join(", ")}] do not make up axis ${axis} of [${x.shape.join(", ")}]`,
        "whole sizes that add up to the axis; narrow(axis, start, size) cuts out one part",
      );
    }
    let start = 0;
    return sizes.map((size) => {
      const offset = x.offset + start * x.strides[axis]!;
      start += size;
      return { shape: x.shape.map((s, d) => (d === axis ? size : s)), strides: x.strides, offset };
    });
  },
  ({ gradients, outputs, inputs: [x] }, { axis }) => {
    const some = gradients.find((g) => g !== undefined)!;
    const parts = outputs.map(({ shape }, i) => gradients[i] ?? some.fullOf(shape, 0, gradientDType(x!.dtype)));
    return [parts.length === 1 ? parts[0] : parts[0]!.concat(parts.slice(1), axis)];
  },
);

export const flip: ViewOp<{ readonly axes: readonly number[] }> = define(
  "flip",
  "axes read backwards",
  (x, { axes }) => {
    checkAxes("flip", axes, x.shape.length);
    return {
      shape: x.shape,
      strides: x.strides.map((s, d) => (axes.includes(d) ? -s : s)),
      offset: axes.reduce((o, d) => o + Math.max(0, x.shape[d]! - 1) * x.strides[d]!, x.offset),
    };
  },
  ({ gradient }, { axes }) => [gradient.flip(axes)],
);
