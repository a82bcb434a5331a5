import { checkDType, type DType, isFloat, promote } from "../dtype.ts";
import { DTypeError, describeAll, ShapeError } from "../errors.ts";
import { type PrimitiveOp, primitive } from "../op.ts";
import { checkShape, type Shape, sameShape } from "../shape.ts";

export interface FillAttrs {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly value: number;
}

export const fill: PrimitiveOp<FillAttrs> = primitive({
  name: "fill",
  arity: 0,
  doc: "a tensor of one value",
  meta: (_, { shape, dtype }) => {
    checkShape("fill", shape);
    return [{ shape, dtype: checkDType("fill", dtype) }];
  },
  gradient: "none",
});

export const copy: PrimitiveOp = primitive({
  name: "copy",
  arity: 1,
  doc: "the values in row-major order in a buffer of their own",
  meta: ([x]) => [x!],
  gradient: { saves: () => ({}), vjp: ({ gradient }) => [gradient] },
});

/** To 16-bit floats: round to nearest, ties to even. To integers: toward zero, saturating, NaN to 0. To bool: x ≠ 0. */
export const cast: PrimitiveOp<{ readonly dtype: DType }> = primitive({
  name: "cast",
  arity: 1,
  doc: "values in another dtype; to integers toward zero, saturating, NaN to 0",
  meta: ([x], { dtype }) => [{ shape: x!.shape, dtype: checkDType("cast", dtype) }],
  widerGradient: ([x], { dtype }) =>
    isFloat(x!.dtype) && promote(x!.dtype, dtype) === x!.dtype ? x!.dtype : undefined,
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient, inputs: [x], outputs: [y] }) => [
      isFloat(x!.dtype) && isFloat(y!.dtype) ? gradient.cast(x!.dtype) : undefined,
    ],
  },
});

/** Overwrites the first input with the second. */
export const assign: PrimitiveOp = primitive({
  name: "assign",
  arity: 2,
  doc: "writes the second input over the first, in place",
  mutates: () => [0],
  meta: (inputs) => {
    const [target, value] = inputs;
    if (!sameShape(target!.shape, value!.shape))
      throw new ShapeError("assign", `shapes differ: ${describeAll(inputs)}`, "reshape or expand the value first");
    if (target!.dtype !== value!.dtype)
      throw new DTypeError("assign", `dtypes differ: ${describeAll(inputs)}`, "cast the value first");
    return [target!];
  },
  gradient: "none",
});
