import { isFloat, promote } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type PrimitiveOp, primitive } from "../op.ts";
import { broadcastShapes, numel, type Shape, sameShape } from "../shape.ts";

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
