import { type DType, isFloat, promote } from "../dtype.ts";
import { DTypeError, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { pullUnary, pullUnaryInto } from "./derive.ts";
import { type Activation, activations, layerMeta, linear, parameterGradients, rows } from "./linear.ts";

export interface FeedForwardAttrs {
  readonly activation: Exclude<Activation, "none">;
}

/**
 * Two linear layers with an activation between them, activation(x · W₁ᵀ + b₁) · W₂ᵀ + b₂: x `[..., in]`, W₁ `[hidden, in]`, W₂ `[out, hidden]` and, both or
 * none, b₁ `[hidden]` and b₂ `[out]`. Outputs: the result `[..., out]`; what the activation gave and what it was given, `[..., hidden]`. The bits are those of two
 * `linear`s; what is gained is the way back, where the inner edge is one op (`linearActivationBackward`).
 */
export const feedForward: FusedOp<FeedForwardAttrs> = fused({
  name: "feedForward",
  arity: "variadic",
  autocast: "low",
  doc: "activation(x · W₁ᵀ + b₁) · W₂ᵀ + b₂, what the activation gave, and what it was given",
  meta: (inputs) => {
    if (inputs.length !== 3 && inputs.length !== 5) {
      throw new ValueError(
        "feedForward",
        `takes 3 or 5 tensors, got ${inputs.length}`,
        "input, both weights and, if any, both biases",
      );
    }
    const [x, up, down, ...biases] = inputs as [Meta, Meta, Meta];
    const hidden = layerMeta("feedForward", [x, up, ...biases.slice(0, 1)]);
    const y = layerMeta("feedForward", [hidden, down, ...biases.slice(1)]);
    return [y, hidden, hidden];
  },
  flops: ([x, up, down]) => 2 * numel(x!.shape.slice(0, -1)) * (numel(up!.shape) + numel(down!.shape)),
  decompose: ([x, up, down, upBias, downBias], { activation }) => {
    const [hidden, before] = x!.applyAll(linear, upBias === undefined ? [x!, up!] : [x!, up!, upBias], { activation });
    return [hidden!.linear(down!, downBias), hidden!, before!];
  },
  gradient: {
    saves: () => ({ inputs: [0, 1, 2], outputs: [1, 2] }),
    vjp: (context, { activation }) => {
      const { gradients, input, output, releaseOutput, inputs, needs, gradientTypes } = context;
      const [gy, gHidden, gBefore] = gradients;
      const [needsInput, needsUp, needsDown, needsUpBias = false, needsDownBias = false] = needs;
      const [, upType, downType] = gradientTypes as [DType, DType, DType];
      const wantsDown = gy !== undefined && (needsDown || needsDownBias);
      const [hidden, before] = [output(1), output(2)];
      const [byDown, byDownBias] = wantsDown ? parameterGradients(gy, hidden, needsDownBias, downType) : [];
      // What is not read again makes room for what follows, as between two layers.
      releaseOutput(1);
      hidden.dispose();
      if (!needsInput && !needsUp && !needsUpBias) return [undefined, undefined, byDown, undefined, byDownBias];
      const [g, sums] = innerGradient();
      releaseOutput(2);
      before.dispose();
      const [byUp, byUpBias] = parameterGradients(g, input(0), needsUpBias && sums === undefined, upType);
      const byInput = needsInput ? rows(g).matmul(input(1)).reshape(inputs[0]!.shape) : undefined;
      return [byInput, byUp, byDown, sums ?? byUpBias, byDownBias];

      /** The gradient of what the activation was given, and where they come with it the sums of its columns. */
      function innerGradient(): [g: Tensor, sums: Tensor | undefined] {
        if (gy !== undefined && gHidden === undefined && gBefore === undefined) {
          const attrs = { activation, ...(needsUpBias ? { sums: upType } : {}) };
          const [by, columns] = gy.applyAll(linearActivationBackward, [gy, input(2), before], attrs);
          return [by!, columns];
        }
        // Under a second derivative what was kept has received gradients of its own.
        const product = gy === undefined ? undefined : rows(gy).matmul(input(2)).reshape(before.shape);
        const byHidden = sumOf(product, gHidden);
        const through = byHidden === undefined ? undefined : pullUnary(activations[activation], before, byHidden);
        return [sumOf(through, gBefore)!, undefined];
      }
    },
  },
});

const sumOf = (a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined =>
  a === undefined ? b : b === undefined ? a : a.add(b);

export interface LinearActivationBackwardAttrs extends FeedForwardAttrs {
  /** Type of the sums over rows, where they are wanted (the gradient of a bias before the activation): the operands', or a wider one. */
  readonly sums?: DType;
}

/**
 * The gradient that a linear layer hands on through the activation it read from: (g · W) ⊙ activation'(before), of g `[..., out]`, W `[out, in]` and what the
 * activation was given `[..., in]`; with `sums` also its sums over rows `[in]` in that type. A kernel may round the product to the operands' type before it is
 * multiplied, as the parts do, or not: it then differs from them by that rounding.
 */
export const linearActivationBackward: FusedOp<LinearActivationBackwardAttrs> = fused({
  name: "linearActivationBackward",
  arity: 3,
  doc: "(g · W) ⊙ activation'(before), and where wanted its sums over rows",
  meta: (inputs, { sums }) => {
    const [g, w, before] = inputs as [Meta, Meta, Meta];
    const isProduct = w.shape.length === 2 && g.shape.length > 0 && g.shape[g.shape.length - 1] === w.shape[0];
    if (!isProduct || !sameShape(before.shape, [...g.shape.slice(0, -1), w.shape[1]!])) {
      throw new ShapeError(
        "linearActivationBackward",
        `gradient, weight and the activation's input do not fit: ${describeAll(inputs)}`,
        "give g [..., out], the weight [out, in] and before [..., in]",
      );
    }
    const holds = sums === undefined || promote(sums, g.dtype) === sums;
    if (inputs.some((t) => t.dtype !== g.dtype) || !isFloat(g.dtype) || !holds) {
      throw new DTypeError(
        "linearActivationBackward",
        `needs float tensors of one dtype${sums === undefined ? "" : `, and ${sums} to hold their sums`}, got ${describeAll(inputs)}`,
        'cast first: g.cast("f32")',
      );
    }
    return sums === undefined ? [before] : [before, { shape: [w.shape[1]!], dtype: sums }];
  },
  flops: ([g, w]) => 2 * numel(g!.shape) * w!.shape[1]!,
  decompose: ([g, w, before], { activation, sums }) => {
    const by = pullUnaryInto(activations[activation], rows(before!), rows(g!).matmul(w!));
    const shaped = by.reshape(before!.shape);
    return sums === undefined ? [shaped] : [shaped, by.sum([0]).cast(sums)];
  },
  gradient: "decomposition",
});
