import { widestFloat } from "../backend.ts";
import { isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import * as e from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type FusedOp, fused, type Meta } from "../op.ts";
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
    const squares = inputs.map((x) => x.cast(widestFloat(x.engine.backend)).square().sum());
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

/** What an optimizer's op takes for every parameter, and which of it the op writes. */
interface Group {
  readonly size: number;
  readonly written: readonly number[];
  /** For its errors: how many, their short and their full names. */
  readonly words: readonly [string, string, string];
}

const groupsOf = ({ size }: Group, inputs: readonly unknown[]): number => (inputs.length - 1) / size;

const mutated = (group: Group, inputs: readonly Meta[]): readonly number[] =>
  Array.from({ length: groupsOf(group, inputs) }, (_, i) => group.written.map((w) => 1 + group.size * i + w)).flat();

function updateMeta(name: string, group: Group, inputs: readonly Meta[]): Meta[] {
  const [count, some, all] = group.words;
  const groups = groupsOf(group, inputs);
  if (!Number.isInteger(groups))
    throw new ShapeError(
      name,
      `takes a factor and groups of ${count} tensors, got ${inputs.length} inputs`,
      `factor, then ${all} of each`,
    );
  if (inputs[0]!.shape.length !== 0 || !isFloat(inputs[0]!.dtype))
    throw new ShapeError(name, `the factor is ${describe(inputs[0]!)}`, "give one float: factor.reshape([])");
  return Array.from({ length: groups }, (_, i) => {
    const members = inputs.slice(1 + group.size * i, 1 + group.size * (i + 1));
    const p = members[0]!;
    if (!members.every((t) => sameShape(t.shape, p.shape)))
      throw new ShapeError(name, `${some} differ: ${describeAll(members)}`, `all ${count} have one shape`);
    if (!isFloat(p.dtype) || members.some((t) => t.dtype !== p.dtype))
      throw new DTypeError(name, `${some} differ: ${describeAll(members)}`, `keep all ${count} in one float dtype`);
    return group.written.map((w) => members[w]!);
  }).flat();
}

const adamwGroup: Group = {
  size: 4,
  written: [0, 2, 3],
  words: ["four", "parameter, gradient and moments", "parameter, gradient and both moments"],
};

/**
 * Inputs: a scalar f32 factor on the gradients (clipping), then parameter, gradient, first and second moment of every
 * tensor. Outputs: the same without the factor; parameters and moments are written in place, gradients are not.
 * Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, decay decoupled and scaled by the learning rate.
 */
export const adamw: FusedOp<AdamwAttrs> = fused({
  name: "adamw",
  arity: "variadic",
  doc: "AdamW update of many tensors in place",
  mutates: (inputs) => mutated(adamwGroup, inputs),
  meta: (inputs) => updateMeta("adamw", adamwGroup, inputs),
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
    return Array.from({ length: groupsOf(adamwGroup, inputs) }, (_, i) => {
      const [p, g, m, v] = inputs.slice(1 + 4 * i, 5 + 4 * i) as [Tensor, Tensor, Tensor, Tensor];
      // The temporaries of one tensor are freed before the next.
      return factor.engine.scope(() => update(p, g, m, v));
    }).flat();
  },
  gradient: "none",
});

export interface LionAttrs {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
}

type LionRule = Omit<LionAttrs, "learningRate">;

const blend = (decay: number, m: e.E, g: e.E, factor: e.E): e.Expr =>
  e.add(e.mul(decay, m), e.mul(1 - decay, e.mul(g, factor)));

/** The learning rate changes from step to step, so it is an operand: backends compile once for each set of attributes. */
const lionParameter: ElementwiseOp<LionRule> = elementwise({
  name: "lionParameter",
  arity: 5,
  doc: "p - rate (sign(β1 m + (1 - β1) g) + λ p)",
  body: ([p, g, factor, rate, m], { beta1, weightDecay }) =>
    e.sub(p!, e.mul(rate!, e.add(e.sign(blend(beta1, m!, g!, factor!)), e.mul(weightDecay, p!)))),
  meta: ([p]) => [p!],
  gradient: "none",
});
const lionMomentum: ElementwiseOp<LionRule> = elementwise({
  name: "lionMomentum",
  arity: 3,
  doc: "β2 m + (1 - β2) g",
  body: ([m, g, factor], { beta2 }) => blend(beta2, m!, g!, factor!),
  meta: ([m]) => [m!],
  gradient: "none",
});

const lionGroup: Group = {
  size: 3,
  written: [0, 2],
  words: ["three", "parameter, gradient and momentum", "parameter, gradient and momentum"],
};

/**
 * Inputs: a scalar float factor on the gradients, then parameter, gradient and momentum of every tensor. Outputs: parameter
 * and momentum of each, written in place. Source: Chen et al. 2023 (arXiv:2302.06675), algorithm 2.
 */
export const lion: FusedOp<LionAttrs> = fused({
  name: "lion",
  arity: "variadic",
  doc: "Lion update of many tensors in place",
  mutates: (inputs) => mutated(lionGroup, inputs),
  meta: (inputs) => updateMeta("lion", lionGroup, inputs),
  flops: (inputs) => inputs.reduce((n, x) => n + 4 * numel(x.shape), 0),
  decompose: (inputs, { learningRate, ...rule }) => {
    const factor = inputs[0]!;
    const update = (p: Tensor, g: Tensor, m: Tensor): Tensor[] => {
      const given = factor.cast(p.dtype);
      const p1 = p.assign(p.apply(lionParameter, [p, g, given, p.fullOf([], learningRate), m], rule));
      return [p1, m.assign(m.apply(lionMomentum, [m, g, given], rule))];
    };
    return Array.from({ length: groupsOf(lionGroup, inputs) }, (_, i) => {
      const [p, g, m] = inputs.slice(1 + 3 * i, 4 + 3 * i) as [Tensor, Tensor, Tensor];
      return factor.engine.scope(() => update(p, g, m));
    }).flat();
  },
  gradient: "none",
});
