import { type DType, isFloat, promote } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type ElementwiseOp, type FusedOp, fused, type Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
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

/** The result of a layer on x, weight and perhaps a bias; errors name the op that has it. */
export function layerMeta(name: string, inputs: readonly Meta[]): Meta {
  const [x, w, b] = inputs as [Meta, Meta, Meta | undefined];
  if (w.shape.length !== 2 || x.shape.length < 1 || x.shape[x.shape.length - 1] !== w.shape[1]) {
    throw new ShapeError(
      name,
      `input ${describe(x)} does not fit weight ${describe(w)}`,
      "the weight is [out, in] and the input's last axis is in",
    );
  }
  if (b !== undefined && (b.shape.length !== 1 || b.shape[0] !== w.shape[0])) {
    throw new ShapeError(name, `bias ${describe(b)} does not fit weight ${describe(w)}`, "the bias is [out]");
  }
  if (inputs.some((t) => t.dtype !== x.dtype) || !isFloat(x.dtype)) {
    throw new DTypeError(
      name,
      `needs float tensors of one dtype, got ${describeAll(inputs)}`,
      'cast first: x.cast("f32")',
    );
  }
  return { shape: [...x.shape.slice(0, -1), w.shape[0]!], dtype: x.dtype };
}

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
    const y = layerMeta("linear", inputs);
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
    vjp: ({ gradients, input, output, inputs, needs, gradientTypes }, { activation }) => {
      // The second output is a residual; under a second derivative it can receive a gradient of its own.
      const [gy, gBefore] = gradients;
      const through =
        gy === undefined || activation === "none" ? gy : pullUnary(activations[activation], output(1), gy);
      const g = through === undefined ? gBefore! : gBefore === undefined ? through : through.add(gBefore);
      const parameters = needs[1] || needs[2] === true;
      const [byWeight, byBias] = parameters
        ? parameterGradients(g, input(0), needs[2] === true, gradientTypes[1]!)
        : [];
      return [needs[0] ? rows(g).matmul(input(1)).reshape(inputs[0]!.shape) : undefined, byWeight, byBias];
    },
  },
});

export interface LinearParametersBackwardAttrs {
  /** Whether the gradient of a bias is wanted too. */
  readonly hasBias: boolean;
  /** The type of the gradients: the operands', or a wider float type that sums are then not rounded from. */
  readonly to: DType;
}

/**
 * The gradients of a linear layer's parameters, of g `[..., out]` and its input x `[..., in]`: gᵀ · x `[out, in]` and, with `hasBias`, the sums of g over
 * rows `[out]`. A kernel may add them up in the type `to`; the parts round to the operands' type first.
 */
export const linearParametersBackward: FusedOp<LinearParametersBackwardAttrs> = fused({
  name: "linearParametersBackward",
  arity: 2,
  doc: "gᵀ · x and, where wanted, the sums of g over rows, in the operands' type or a wider one",
  meta: (inputs, { hasBias, to }) => {
    const [g, x] = inputs as [Meta, Meta];
    const isRows = g.shape.length > 0 && sameShape(g.shape.slice(0, -1), x.shape.slice(0, -1));
    if (!isRows || x.shape.length !== g.shape.length) {
      throw new ShapeError(
        "linearParametersBackward",
        `gradient and input do not have the same rows: ${describeAll(inputs)}`,
        "give g [..., out] and x [..., in]",
      );
    }
    if (g.dtype !== x.dtype || !isFloat(g.dtype) || promote(to, g.dtype) !== to) {
      throw new DTypeError(
        "linearParametersBackward",
        `needs floats of one dtype, and gradients that hold their sums, got ${describeAll(inputs)} and to ${to}`,
        `give operands of one dtype, and to: "${g.dtype}" or "f32"`,
      );
    }
    const [out, inner] = [g, x].map(({ shape }) => shape[shape.length - 1]!) as [number, number];
    return [{ shape: [out, inner], dtype: to }, ...(hasBias ? [{ shape: [out], dtype: to }] : [])];
  },
  flops: ([g, x]) => 2 * numel(g!.shape) * x!.shape[x!.shape.length - 1]!,
  decompose: ([g, x], { hasBias, to }) => [
    rows(g!).transpose().matmul(rows(x!)).cast(to),
    ...(hasBias ? [rows(g!).sum([0]).cast(to)] : []),
  ],
  gradient: "decomposition",
});

/** The gradients of weight and bias, in the type in which they are wanted. */
export function parameterGradients(g: Tensor, x: Tensor, hasBias: boolean, to: DType): Tensor[] {
  return g.applyAll(linearParametersBackward, [g, x], { hasBias, to });
}

/** `[..., k]` as the matrix `[rows, k]`. */
export function rows(x: Tensor): Tensor {
  return x.shape.length === 2 ? x : x.reshape([numel(x.shape.slice(0, -1)), x.shape[x.shape.length - 1]!]);
}
