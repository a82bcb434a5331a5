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
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
}

/** What an optimizer's op takes for every parameter, and which of it the op writes. */
interface Group {
  readonly size: number;
  readonly written: readonly number[];
  /** Of its second input: what changes from step to step is no attribute, so that a step is the same work as the one before. */
  readonly schedule: readonly string[];
  /** For its errors: how many, their short and their full names. */
  readonly words: readonly [string, string, string];
  /** The member that is a copy of the first in another type. */
  readonly copy?: number;
}

/** Inputs before the groups: the factor and the schedule. */
const LEADING = 2;

const groupsOf = ({ size }: Group, inputs: readonly unknown[]): number => (inputs.length - LEADING) / size;

/** What the op takes of every parameter. */
const membersOf = <T>(group: Group, inputs: readonly T[]): (readonly T[])[] =>
  Array.from({ length: groupsOf(group, inputs) }, (_, i) =>
    inputs.slice(LEADING + group.size * i, LEADING + group.size * (i + 1)),
  );

const mutated = (group: Group, inputs: readonly Meta[]): readonly number[] =>
  Array.from({ length: groupsOf(group, inputs) }, (_, i) =>
    group.written.map((w) => LEADING + group.size * i + w),
  ).flat();

function updateMeta(name: string, group: Group, inputs: readonly Meta[]): Meta[] {
  const [count, some, all] = group.words;
  const groups = groupsOf(group, inputs);
  if (!Number.isInteger(groups) || groups < 0)
    throw new ShapeError(
      name,
      `takes a factor, a schedule and groups of ${count} tensors, got ${inputs.length} inputs`,
      `factor, schedule, then ${all} of each`,
    );
  const [factor, schedule] = inputs as readonly [Meta, Meta];
  if (factor.shape.length !== 0 || !isFloat(factor.dtype))
    throw new ShapeError(name, `the factor is ${describe(factor)}`, "give one float: factor.reshape([])");
  if (!sameShape(schedule.shape, [group.schedule.length]) || schedule.dtype !== factor.dtype)
    throw new ShapeError(
      name,
      `the schedule is ${describe(schedule)}`,
      `give ${group.schedule.join(", ")} as [${group.schedule.length}] ${factor.dtype}`,
    );
  return membersOf(group, inputs).flatMap((members) => {
    const p = members[0]!;
    if (!members.every((t) => sameShape(t.shape, p.shape)))
      throw new ShapeError(name, `${some} differ: ${describeAll(members)}`, `all ${count} have one shape`);
    if (!members.every((t, k) => isFloat(t.dtype) && (k === group.copy || t.dtype === p.dtype)))
      throw new DTypeError(name, `${some} differ: ${describeAll(members)}`, `keep all ${count} in one float dtype`);
    return group.written.map((w) => members[w]!);
  });
}

/** Whether a step is taken at all: what follows from gradients that are no numbers must not reach the parameters. */
const orKept =
  (factor: Tensor) =>
  (next: Tensor, before: Tensor): Tensor =>
    factor.isFinite().where(next, before);

const adamwGroup: Group = {
  size: 4,
  written: [0, 2, 3],
  schedule: ["learning rate", "1 - beta1^t", "1 - beta2^t"],
  words: ["four", "parameter, gradient and moments", "parameter, gradient and both moments"],
};

/**
 * Inputs: a scalar float factor on the gradients (clipping; one that is not finite leaves everything as it is), the schedule
 * (learning rate, 1 - β1^t and 1 - β2^t, t being 1 for the first update), then parameter, gradient, first and second moment of every
 * tensor. Outputs: parameter and both moments of each, written in place; gradients are not.
 * Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, decay decoupled and scaled by the learning rate.
 */
export const adamw: FusedOp<AdamwAttrs> = fused({
  name: "adamw",
  arity: "variadic",
  doc: "AdamW update of many tensors in place",
  mutates: (inputs) => mutated(adamwGroup, inputs),
  meta: (inputs) => updateMeta("adamw", adamwGroup, inputs),
  flops: (inputs) => inputs.reduce((n, x) => n + 4 * numel(x.shape), 0),
  decompose: (inputs, { beta1, beta2, eps, weightDecay }) => {
    const [factor, schedule] = inputs as readonly [Tensor, Tensor];
    const kept = orKept(factor);
    const update = (p: Tensor, g: Tensor, m: Tensor, v: Tensor): Tensor[] => {
      const [rate, correction1, correction2] = scalarsOf(schedule, p.dtype) as [Tensor, Tensor, Tensor];
      const gradient = g.mul(factor.cast(g.dtype));
      const m1 = m.assign(kept(m.mul(beta1).add(gradient.mul(1 - beta1)), m));
      const v1 = v.assign(kept(v.mul(beta2).add(gradient.square().mul(1 - beta2)), v));
      const denominator = v1.div(correction2).sqrt().add(eps);
      const direction = m1.div(correction1).div(denominator).add(p.mul(weightDecay));
      return [p.assign(kept(p.sub(direction.mul(rate)), p)), m1, v1];
    };
    // The temporaries of one tensor are freed before the next.
    return membersOf(adamwGroup, inputs).flatMap((members) =>
      factor.engine.scope(() => update(...(members as [Tensor, Tensor, Tensor, Tensor]))),
    );
  },
  gradient: "none",
});

const adamwCopyingGroup: Group = {
  size: 5,
  written: [0, 2, 3, 4],
  schedule: adamwGroup.schedule,
  words: ["five", "parameter, gradient, moments and copy", "parameter, gradient, both moments and the copy"],
  copy: 4,
};

/**
 * `adamw` of parameters that have copies in another float type (autocast's), which are written in the same pass. Inputs: the factor and
 * the schedule, then parameter, gradient, both moments and the copy of every tensor. Outputs: all of these but the gradients, in
 * place; the copies hold the parameters' values afterwards whatever the factor was.
 */
export const adamwCopying: FusedOp<AdamwAttrs> = fused({
  name: "adamwCopying",
  arity: "variadic",
  doc: "AdamW update of many tensors and of their copies in another float type, in place",
  mutates: (inputs) => mutated(adamwCopyingGroup, inputs),
  meta: (inputs) => updateMeta("adamwCopying", adamwCopyingGroup, inputs),
  flops: (inputs) => inputs.reduce((n, x) => n + 4 * numel(x.shape), 0),
  decompose: (inputs, attrs) => {
    const [factor, schedule] = inputs as readonly [Tensor, Tensor];
    const groups = membersOf(adamwCopyingGroup, inputs);
    const updates = groups.flatMap((members) => members.slice(0, adamwGroup.size));
    const updated = factor.applyAll(adamw, [factor, schedule, ...updates], attrs);
    return groups.flatMap((members, i) => {
      const [p, m, v] = updated.slice(3 * i, 3 * i + 3) as [Tensor, Tensor, Tensor];
      const copy = members[adamwCopyingGroup.copy!]!;
      return [p, m, v, copy.assign(p.cast(copy.dtype))];
    });
  },
  gradient: "none",
});

const scalarsOf = (schedule: Tensor, dtype: Tensor["dtype"]): Tensor[] =>
  Array.from({ length: schedule.size }, (_, i) => schedule.narrow(0, i, 1).reshape([]).cast(dtype));

export interface LionAttrs {
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
}

const blend = (decay: number, m: e.E, g: e.E, factor: e.E): e.Expr =>
  e.add(e.mul(decay, m), e.mul(1 - decay, e.mul(g, factor)));

/** Not NaN and not infinite: such a number less itself is 0. */
const isNumber = (x: e.E): e.Expr => e.eq(e.sub(x, x), 0);

const lionParameter: ElementwiseOp<LionAttrs> = elementwise({
  name: "lionParameter",
  arity: 5,
  doc: "p - rate (sign(β1 m + (1 - β1) g) + λ p)",
  body: ([p, g, factor, rate, m], { beta1, weightDecay }) => {
    const direction = e.add(e.sign(blend(beta1, m!, g!, factor!)), e.mul(weightDecay, p!));
    return e.select(isNumber(factor!), e.sub(p!, e.mul(rate!, direction)), p!);
  },
  meta: ([p]) => [p!],
  gradient: "none",
});
const lionMomentum: ElementwiseOp<LionAttrs> = elementwise({
  name: "lionMomentum",
  arity: 3,
  doc: "β2 m + (1 - β2) g",
  body: ([m, g, factor], { beta2 }) => e.select(isNumber(factor!), blend(beta2, m!, g!, factor!), m!),
  meta: ([m]) => [m!],
  gradient: "none",
});

const lionGroup: Group = {
  size: 3,
  written: [0, 2],
  schedule: ["learning rate"],
  words: ["three", "parameter, gradient and momentum", "parameter, gradient and momentum"],
};

/**
 * Inputs: a scalar float factor on the gradients (one that is not finite leaves everything as it is), the schedule (the learning
 * rate), then parameter, gradient and momentum of every tensor. Outputs: parameter and momentum of each, written in place.
 * Source: Chen et al. 2023 (arXiv:2302.06675), algorithm 2.
 */
export const lion: FusedOp<LionAttrs> = fused({
  name: "lion",
  arity: "variadic",
  doc: "Lion update of many tensors in place",
  mutates: (inputs) => mutated(lionGroup, inputs),
  meta: (inputs) => updateMeta("lion", lionGroup, inputs),
  flops: (inputs) => inputs.reduce((n, x) => n + 4 * numel(x.shape), 0),
  decompose: (inputs, rule) => {
    const [factor, schedule] = inputs as readonly [Tensor, Tensor];
    const update = (p: Tensor, g: Tensor, m: Tensor): Tensor[] => {
      const given = factor.cast(p.dtype);
      const [rate] = scalarsOf(schedule, p.dtype) as [Tensor];
      const p1 = p.assign(p.apply(lionParameter, [p, g, given, rate, m], rule));
      return [p1, m.assign(m.apply(lionMomentum, [m, g, given], rule))];
    };
    return membersOf(lionGroup, inputs).flatMap((members) =>
      factor.engine.scope(() => update(...(members as [Tensor, Tensor, Tensor]))),
    );
  },
  gradient: "none",
});
