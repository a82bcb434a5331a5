import { DTypeError, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type PrimitiveOp, primitive } from "../op.ts";
import { checkAxes } from "../shape.ts";

export interface PadAttrs {
  /** [before, after] for every axis. */
  readonly pads: readonly (readonly [number, number])[];
  readonly value: number;
}

export const pad: PrimitiveOp<PadAttrs> = primitive({
  name: "pad",
  arity: 1,
  doc: "a constant border",
  meta: ([x], { pads }) => {
    const isPad = (p: readonly number[]): boolean => p.length === 2 && p.every((n) => Number.isInteger(n) && n >= 0);
    if (pads.length !== x!.shape.length || !pads.every(isPad)) {
      throw new ValueError(
        "pad",
        `pads ${JSON.stringify(pads)} do not fit [${x!.shape.join(", ")}]`,
        "give one non-negative [before, after] for every axis",
      );
    }
    return [{ shape: x!.shape.map((s, d) => s + pads[d]![0] + pads[d]![1]), dtype: x!.dtype }];
  },
  flops: () => 0,
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient, inputs: [x] }, { pads }) => [
      gradient.slice(
        pads.map(([before]) => before),
        x!.shape,
      ),
    ],
  },
});

export const concat: PrimitiveOp<{ readonly axis: number }> = primitive({
  name: "concat",
  arity: "variadic",
  doc: "tensors one after another along an axis",
  meta: (inputs, { axis }) => {
    const [first] = inputs;
    if (first === undefined) throw new ValueError("concat", "takes at least 1 tensor, got 0", "a.concat([b, c])");
    if (inputs.some((x) => x.dtype !== first.dtype))
      throw new DTypeError("concat", `dtypes differ: ${describeAll(inputs)}`, "cast them to one dtype");
    const fits = inputs.every(
      (x) => x.shape.length === first.shape.length && x.shape.every((s, d) => d === axis || s === first.shape[d]),
    );
    if (!fits)
      throw new ShapeError(
        "concat",
        `operands must agree on every axis but ${axis}: ${describeAll(inputs)}`,
        "reshape or pad the others, or join along another axis",
      );
    checkAxes("concat", [axis], first.shape.length);
    const total = inputs.reduce((n, x) => n + x.shape[axis]!, 0);
    return [{ shape: first.shape.map((s, d) => (d === axis ? total : s)), dtype: first.dtype }];
  },
  flops: () => 0,
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient, inputs, needs }, { axis }) => {
      let start = 0;
      return inputs.map((x, i) => {
        const size = x.shape[axis]!;
        const part = needs[i] ? gradient.narrow(axis, start, size) : undefined;
        start += size;
        return part;
      });
    },
  },
});

export interface RectangleAttrs {
  /** Where its first element lies, on every axis. */
  readonly starts: readonly number[];
}

/** Meta of x, of which y is to be a rectangle. */
function rectangleMeta(name: string, inputs: readonly Meta[], { starts }: RectangleAttrs): Meta[] {
  const [x, y] = inputs as [Meta, Meta];
  if (x.dtype !== y.dtype) throw new DTypeError(name, `dtypes differ: ${describeAll(inputs)}`, "cast the part first");
  const fits =
    y.shape.length === x.shape.length &&
    starts.length === x.shape.length &&
    y.shape.every((s, d) => Number.isInteger(starts[d]) && starts[d]! >= 0 && starts[d]! + s <= x.shape[d]!);
  if (!fits)
    throw new ShapeError(
      name,
      `the part at [${starts.join(", ")}] leaves the tensor: ${describeAll(inputs)}`,
      "starts are whole numbers, one for every axis, and start + size stays inside",
    );
  return [x];
}

/** The rectangle of x at `starts` overwritten with y, in place, whoever else holds x: what is kept between the calls of a recording. */
export const overwrite: FusedOp<RectangleAttrs> = fused({
  name: "overwrite",
  arity: 2,
  doc: "writes the second input over a rectangular part of the first, in place",
  mutates: () => [0],
  meta: (inputs, attrs) => rectangleMeta("overwrite", inputs, attrs),
  flops: () => 0,
  decompose: ([x, y], { starts }) => [x!.assign(x!.writeSlice(y!, starts))],
  gradient: "none",
});

/** x with the rectangle at `starts` replaced by y. May be written over x. */
export const writeSlice: PrimitiveOp<RectangleAttrs> = primitive({
  name: "writeSlice",
  arity: 2,
  doc: "x with a rectangular part replaced by y",
  mayAlias: 0,
  meta: (inputs, attrs) => rectangleMeta("writeSlice", inputs, attrs),
  flops: () => 0,
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient, inputs: [, y], needs }, { starts }) => [
      needs[0] ? gradient.writeSlice(gradient.fullOf(y!.shape, 0, gradient.dtype), starts) : undefined,
      needs[1] ? gradient.slice(starts, y!.shape) : undefined,
    ],
  },
});
