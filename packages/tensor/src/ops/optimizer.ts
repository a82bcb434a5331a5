import { isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Optimizer steps over many tensors at once, in place.

/** Square root of the sum of squares of all elements of all tensors: a scalar f32. */
export const globalNorm: FusedOp = fused({
  name: "globalNorm",
  arity: "variadic",
  doc: "Euclidean norm over several tensors together",
  meta: () => [{ shape: [], dtype: "f32" }],
  flops: (inputs) => inputs.reduce((n, x) => n + 2 * numel(x.shape), 0),
  decompose: (inputs) => {
    const squares = inputs.map((x) => x.cast("f64").square().sum());
    return [
      squares
        .reduce((total, s) => total.add(s))
        .sqrt()
        .cast("f32"),
    ];
  },
  gradient: "none",
});

export interface AdamwAttrs {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** 1 for the first update: both bias corrections use it. */
  readonly step: number;
}

const groupsOfFour = (inputs: readonly Meta[]): number => (inputs.length - 1) / 4;

/**
 * Inputs: a scalar f32 factor on the gradients (clipping), then parameter, gradient, first and second moment of every
 * tensor. Outputs: the same without the factor; parameters and moments are written in place, gradients are not.
 * Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, decay decoupled and scaled by the learning rate.
 */
export const adamw: FusedOp<AdamwAttrs> = fused({
  name: "adamw",
  arity: "variadic",
  doc: "AdamW update of many tensors in place",
  mutates: (inputs) => Array.from({ length: groupsOfFour(inputs) }, (_, i) => [1 + 4 * i, 3 + 4 * i, 4 + 4 * i]).flat(),
  meta: (inputs) => {
    const groups = groupsOfFour(inputs);
    if (!Number.isInteger(groups))
      throw new ShapeError(
        "adamw",
        `takes a factor and groups of four tensors, got ${inputs.length} inputs`,
        "factor, then parameter, gradient and both moments of each",
      );
    if (inputs[0]!.shape.length !== 0 || !isFloat(inputs[0]!.dtype))
      throw new ShapeError("adamw", `the factor is ${describe(inputs[0]!)}`, "give one float: factor.reshape([])");
    return Array.from({ length: groups }, (_, i) => {
      const [p, g, m, v] = inputs.slice(1 + 4 * i, 5 + 4 * i) as [Meta, Meta, Meta, Meta];
      if (![g, m, v].every((t) => sameShape(t.shape, p.shape)))
        throw new ShapeError(
          "adamw",
          `parameter, gradient and moments differ: ${describeAll([p, g, m, v])}`,
          "all four have one shape",
        );
      if (!isFloat(p.dtype) || [g, m, v].some((t) => t.dtype !== p.dtype))
        throw new DTypeError(
          "adamw",
          `parameter, gradient and moments differ: ${describeAll([p, g, m, v])}`,
          "keep all four in one float dtype",
        );
      return [p, m, v];
    }).flat();
  },
  flops: (inputs) => inputs.reduce((n, x) => n + 4 * numel(x.shape), 0),
  decompose: (inputs, { learningRate, beta1, beta2, eps, weightDecay, step }) => {
    const factor = inputs[0]!;
    const update = (p: Tensor, g: Tensor, m: Tensor, v: Tensor): Tensor[] => {
      const gradient = g.mul(factor.cast(g.dtype));
      const m1 = m.assign(m.mul(beta1).add(gradient.mul(1 - beta1)));
      const v1 = v.assign(v.mul(beta2).add(gradient.square().mul(1 - beta2)));
      const denominator = v1
        .div(1 - beta2 ** step)
        .sqrt()
        .add(eps);
      const direction = m1
        .div(1 - beta1 ** step)
        .div(denominator)
        .add(p.mul(weightDecay));
      return [p.assign(p.sub(direction.mul(learningRate))), m1, v1];
    };
    return Array.from({ length: groupsOfFour(inputs) }, (_, i) => {
      const [p, g, m, v] = inputs.slice(1 + 4 * i, 5 + 4 * i) as [Tensor, Tensor, Tensor, Tensor];
      // The temporaries of one tensor are freed before the next.
      return factor.engine.scope(() => update(p, g, m, v));
    }).flat();
  },
  gradient: "none",
});
