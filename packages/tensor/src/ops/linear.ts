import { isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type ElementwiseOp, type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { pullUnary } from "./derive.ts";
import { gelu, geluExact, relu, silu } from "./unary.ts";

export type Activation = "none" | "gelu" | "geluExact" | "silu" | "relu";

export interface LinearAttrs {
  readonly activation: Activation;
}

export const activations: { readonly [A in Exclude<Activation, "none">]: ElementwiseOp } = {
  gelu,
  geluExact,
  silu,
  relu,
};

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
export function rows(x: Tensor): Tensor {
  return x.shape.length === 2 ? x : x.reshape([numel(x.shape.slice(0, -1)), x.shape[x.shape.length - 1]!]);
}
