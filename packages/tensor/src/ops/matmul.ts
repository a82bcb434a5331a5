import { isFloat, promote } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type PrimitiveOp, primitive } from "../op.ts";
import { broadcastShapes, numel, type Shape, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { pullUnary } from "./derive.ts";
import { gelu, geluExact, relu, silu } from "./unary.ts";

/**
 * `[..., m, k] x [..., k, n] -> [..., m, n]`, leading axes broadcast. Transposed operands are views: kernels read
 * strides. The order of a sum follows from shapes and strides alone, its precision from the backend (see its `arithmetic`).
 * i8 x i8 gives i32: exact, modulo 2^32.
 */
export const matmul: PrimitiveOp = primitive({
  name: "matmul",
  arity: 2,
  autocast: "low",
  doc: "matrix product over the last two axes, leading axes broadcast; of i8 the exact i32",
  meta: (inputs) => {
    const [a, b] = inputs as [Meta, Meta];
    if (a.shape.length < 2 || b.shape.length < 2) {
      throw new ShapeError(
        "matmul",
        `needs matrices, got ${describeAll(inputs)}`,
        "unsqueeze a vector: v.unsqueeze(0) is a row, v.unsqueeze(1) a column",
      );
    }
    if (a.dtype !== b.dtype || !(isFloat(a.dtype) || a.dtype === "i8")) {
      throw new DTypeError(
        "matmul",
        `needs two float tensors of one dtype, or two of i8, got ${describeAll(inputs)}`,
        'cast first: x.cast("f32")',
      );
    }
    const [m, k] = a.shape.slice(-2) as [number, number];
    const [k2, n] = b.shape.slice(-2) as [number, number];
    if (k !== k2) {
      throw new ShapeError(
        "matmul",
        `inner sizes differ: ${describe(a)} x ${describe(b)} has ${k} and ${k2}`,
        transposeHint(a.shape, b.shape),
      );
    }
    const shape = [...broadcastShapes("matmul", a.shape.slice(0, -2), b.shape.slice(0, -2)), m, n];
    return [{ shape, dtype: a.dtype === "i8" ? "i32" : a.dtype }];
  },
  flops: ([a], [y]) => 2 * numel(y!.shape) * a!.shape[a!.shape.length - 1]!,
  gradient: {
    saves: () => ({ inputs: [0, 1] }),
    vjp: ({ gradient, input, needs }) => [
      needs[0] ? gradient.matmul(input(1).transpose()) : undefined,
      needs[1] ? input(0).transpose().matmul(gradient) : undefined,
    ],
  },
});

function transposeHint(a: Shape, b: Shape): string {
  const k = a[a.length - 1];
  if (b[b.length - 1] === k) return "did you mean a.matmul(b.transpose())?";
  if (a[a.length - 2] === b[b.length - 2]) return "did you mean a.transpose().matmul(b)?";
  return "the last axis of the first must equal the second-last of the second";
}

/**
 * sum + a b, written over the sum `[m, n]`: a `[m, k]`, b `[k, n]` of one float type, which may be coarser than the sum's. What is
 * added up part by part (a weight's gradient over chunks of rows) is rounded as the sum is, not as a and b are.
 */
export const matmulAdd: FusedOp = fused({
  name: "matmulAdd",
  arity: 3,
  doc: "sum + a b in place, the sum in its own float type",
  mutates: () => [0],
  meta: (inputs) => {
    const [sum, a, b] = inputs as [Meta, Meta, Meta];
    const [m, k] = a.shape as unknown as [number, number];
    const n = b.shape[1]!;
    const isProduct = inputs.every(({ shape }) => shape.length === 2) && b.shape[0] === k;
    if (!isProduct || !sameShape(sum.shape, [m, n])) {
      throw new ShapeError(
        "matmulAdd",
        `sum and factors do not fit: ${describeAll(inputs)}`,
        "give a sum [m, n] and factors [m, k] and [k, n]",
      );
    }
    if (!isFloat(a.dtype) || a.dtype !== b.dtype || promote(sum.dtype, a.dtype) !== sum.dtype) {
      throw new DTypeError(
        "matmulAdd",
        `the sum cannot hold the product: ${describeAll(inputs)}`,
        'give float factors of one dtype, and add up in float32: zeros(shape, { dtype: "f32" })',
      );
    }
    return [sum];
  },
  flops: ([sum, a]) => 2 * numel(sum!.shape) * a!.shape[1]!,
  decompose: ([sum, a, b]) => [sum!.assign(sum!.add(a!.matmul(b!)))],
  gradient: "none",
});

export type Activation = "none" | "gelu" | "geluExact" | "silu" | "relu";

export interface LinearAttrs {
  readonly activation: Activation;
}

const activations = { gelu, geluExact, silu, relu } as const;

/**
 * `activation(x · Wᵀ + b)`: x `[..., in]`, W `[out, in]`, b `[out]` (optional) -> `[..., out]`.
 * With an activation, the second output is the value before it (what backward needs).
 */
export const linear: FusedOp<LinearAttrs> = fused({
  name: "linear",
  arity: "variadic",
  autocast: "low",
  doc: "activation(x · Wᵀ + b), bias and activation in the epilogue",
  meta: (inputs, { activation }) => {
    if (inputs.length !== 2 && inputs.length !== 3)
      throw new ValueError("linear", `takes 2 or 3 tensors, got ${inputs.length}`, "input, weight and, if any, bias");
    const [x, w, b] = inputs as [Meta, Meta, Meta | undefined];
    if (w.shape.length !== 2 || x.shape.length < 1 || x.shape[x.shape.length - 1] !== w.shape[1]) {
      throw new ShapeError(
        "linear",
        `input ${describe(x)} does not fit weight ${describe(w)}`,
        "the weight is [out, in] and the input's last axis is in",
      );
    }
    if (b !== undefined && (b.shape.length !== 1 || b.shape[0] !== w.shape[0])) {
      throw new ShapeError("linear", `bias ${describe(b)} does not fit weight ${describe(w)}`, "the bias is [out]");
    }
    if (inputs.some((t) => t.dtype !== x.dtype) || !isFloat(x.dtype)) {
      throw new DTypeError(
        "linear",
        `needs float tensors of one dtype, got ${describeAll(inputs)}`,
        'cast first: x.cast("f32")',
      );
    }
    const y = { shape: [...x.shape.slice(0, -1), w.shape[0]!], dtype: x.dtype };
    return activation === "none" ? [y] : [y, y];
  },
  flops: ([, w], [y]) => 2 * numel(y!.shape) * w!.shape[1]!,
  decompose: ([x, w, b], { activation }) => {
    const product = rows(x!)
      .matmul(w!.transpose())
      .reshape([...x!.shape.slice(0, -1), w!.shape[0]!]);
    const y = b === undefined ? product : product.add(b);
    return activation === "none" ? [y] : [y.apply(activations[activation], [y], undefined), y];
  },
  gradient: {
    saves: (_, { activation }) => (activation === "none" ? { inputs: [0, 1] } : { inputs: [0, 1], outputs: [1] }),
    vjp: ({ gradients, input, output, inputs, needs }, { activation }) => {
      // The second output is a residual; under a second derivative it can receive a gradient of its own.
      const [gy, gBefore] = gradients;
      const through =
        gy === undefined || activation === "none" ? gy : pullUnary(activations[activation], output(1), gy);
      const g = through === undefined ? gBefore! : gBefore === undefined ? through : through.add(gBefore);
      const flat = rows(g);
      return [
        needs[0] ? flat.matmul(input(1)).reshape(inputs[0]!.shape) : undefined,
        needs[1] ? flat.transpose().matmul(rows(input(0))) : undefined,
        needs[2] ? flat.sum([0]) : undefined,
      ];
    },
  },
});

/** `[..., k]` as the matrix `[rows, k]`. */
function rows(x: Tensor): Tensor {
  return x.shape.length === 2 ? x : x.reshape([numel(x.shape.slice(0, -1)), x.shape[x.shape.length - 1]!]);
}
