import { widestFloat } from "../backend.ts";
import { type DType, isFloat } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type PrimitiveOp, primitive, type VjpContext } from "../op.ts";
import { checkAxes, numel, type Shape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface ReduceAttrs {
  /** Sorted, non-negative. */
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

export function reducedShape(shape: Shape, { axes, keepDims }: ReduceAttrs): Shape {
  return keepDims ? shape.map((s, d) => (axes.includes(d) ? 1 : s)) : shape.filter((_, d) => !axes.includes(d));
}

const keptShape = (shape: Shape, attrs: ReduceAttrs): Shape => reducedShape(shape, { ...attrs, keepDims: true });
const inputElements = ([x]: readonly Meta[]): number => numel(x!.shape);

function checkedShape(name: string, x: Meta, attrs: ReduceAttrs): Shape {
  checkAxes(name, attrs.axes, x.shape.length);
  return reducedShape(x.shape, attrs);
}

function needsElements(name: string, x: Meta, { axes }: ReduceAttrs): void {
  if (axes.some((a) => x.shape[a] === 0) && numel(reducedShape(x.shape, { axes, keepDims: false })) > 0) {
    throw new ShapeError(
      name,
      `no elements to reduce over in [${x.shape.join(", ")}]`,
      "an empty axis has a sum, but no extremum",
    );
  }
}

/** Sums accumulate in float64 on the CPU and in a fixed order everywhere. Integers sum modulo 2^32, as i32. */
export const sum: PrimitiveOp<ReduceAttrs> = primitive({
  name: "sum",
  arity: 1,
  doc: "sum over axes",
  meta: ([x], attrs) => [{ shape: checkedShape("sum", x!, attrs), dtype: sumDType(x!.dtype) }],
  flops: inputElements,
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient, inputs: [x] }, attrs) => [gradient.reshape(keptShape(x!.shape, attrs)).expand(x!.shape)],
  },
});

function sumDType(d: DType): DType {
  return d === "bool" || d === "i8" || d === "i16" || d === "u8" ? "i32" : d;
}

/**
 * Halves multiplied until one is left, in float64, rounded once: half a unit in the last place and (n - 1) · 2^-53.
 * Integers multiply modulo 2^32, as i32. The gradient goes through the same products and divides by nothing, so that
 * a zero has its own: the product of the other elements.
 */
export const prod: FusedOp<ReduceAttrs> = fused({
  name: "prod",
  arity: 1,
  doc: "product over axes, in float64 and rounded once; 1 over none",
  meta: ([x], attrs) => [{ shape: checkedShape("prod", x!, attrs), dtype: sumDType(x!.dtype) }],
  flops: inputElements,
  decompose: ([x], attrs) => {
    const { shape } = x!;
    const kept = shape.flatMap((_, d) => (attrs.axes.includes(d) ? [] : [d]));
    let n = attrs.axes.reduce((size, d) => size * shape[d]!, 1);
    let left: Tensor = x!
      .cast(isFloat(x!.dtype) ? widestFloat(x!.engine.backend) : "i32")
      .permute([...attrs.axes, ...kept])
      .reshape([n, ...kept.map((d) => shape[d]!)]);
    for (; n > 1; n = left.shape[0]!) {
      const half = n >> 1;
      const product = left.narrow(0, 0, half).mul(left.narrow(0, half, half));
      left = n % 2 === 0 ? product : product.concat([left.narrow(0, n - 1, 1)], 0);
    }
    const one =
      n === 1
        ? left
        : left.fullOf(
            left.shape.map((s, d) => (d === 0 ? 1 : s)),
            1,
          );
    return [one.reshape(reducedShape(shape, attrs)).cast(sumDType(x!.dtype))];
  },
  gradient: "decomposition",
});

/** The gradient of an extremum goes to the elements that attain it, in equal shares. */
function extremumVjp({ gradient, input, output, inputs: [x] }: VjpContext, attrs: ReduceAttrs): readonly Tensor[] {
  const kept = keptShape(x!.shape, attrs);
  const isExtremum = input(0).equal(output(0).reshape(kept)).cast(gradient.dtype);
  const shares = isExtremum.sum(attrs.axes, { keepDims: true });
  return [isExtremum.mul(gradient.reshape(kept).div(shares))];
}

function extremum(name: "max" | "min", doc: string): PrimitiveOp<ReduceAttrs> {
  return primitive<ReduceAttrs>({
    name,
    arity: 1,
    doc,
    meta: ([x], attrs) => {
      const shape = checkedShape(name, x!, attrs);
      needsElements(name, x!, attrs);
      return [{ shape, dtype: x!.dtype }];
    },
    flops: inputElements,
    gradient: { saves: () => ({ inputs: [0], outputs: [0] }), vjp: extremumVjp },
  });
}

export const max: PrimitiveOp<ReduceAttrs> = extremum("max", "largest element over axes; NaN if any is NaN");
export const min: PrimitiveOp<ReduceAttrs> = extremum("min", "smallest element over axes; NaN if any is NaN");

function argExtremum(name: "argmax" | "argmin", doc: string): PrimitiveOp<{ readonly axis: number }> {
  return primitive<{ readonly axis: number }>({
    name,
    arity: 1,
    doc,
    meta: ([x], { axis }) => {
      const attrs = { axes: [axis], keepDims: false };
      const shape = checkedShape(name, x!, attrs);
      needsElements(name, x!, attrs);
      return [{ shape, dtype: "i32" }];
    },
    flops: inputElements,
    gradient: "none",
  });
}

export const argmax: PrimitiveOp<{ readonly axis: number }> = argExtremum(
  "argmax",
  "index of the first largest element",
);
export const argmin: PrimitiveOp<{ readonly axis: number }> = argExtremum(
  "argmin",
  "index of the first smallest element",
);

export const cumsum: PrimitiveOp<{ readonly axis: number }> = primitive({
  name: "cumsum",
  arity: 1,
  doc: "running sum along an axis, in the type of a sum",
  meta: ([x], { axis }) => {
    checkAxes("cumsum", [axis], x!.shape.length);
    return [{ shape: x!.shape, dtype: sumDType(x!.dtype) }];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradient }, { axis }) => [gradient.flip([axis]).cumsum(axis).flip([axis])],
  },
});
