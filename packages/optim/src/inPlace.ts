import {
  type DType,
  type ElementwiseOp,
  elementwise,
  expr,
  type FusedOp,
  full,
  type Tensor,
} from "@revnet-zero/tensor";
import type { StepContext, Update } from "./optimizer.ts";

/** Zeros of a parameter's shape and dtype. */
export const zerosOf = (parameter: Tensor): Tensor => parameter.fullOf(parameter.shape, 0);

/**
 * An update rule as the scalar body of an op: every backend runs it as one kernel, whose only temporary is the new
 * value of its first input. What changes from step to step is an input (a scalar tensor), not an attribute: backends
 * compile once for each set of attributes.
 */
export const updateRule = <A>(
  name: string,
  arity: number,
  body: (args: readonly expr.Expr[], attrs: A) => expr.Expr,
): ElementwiseOp<A> =>
  elementwise({ name, arity, body, doc: "update rule of an optimizer", meta: ([x]) => [x!], gradient: "none" });

/** Overwrites the first of `inputs` with what the rule makes of them all. */
export function overwrite<A>(rule: ElementwiseOp<A>, inputs: readonly [Tensor, ...Tensor[]], attrs: A): void {
  const [target] = inputs;
  target.engine.scope(() => {
    target.assign(target.apply(rule, inputs, attrs));
  });
}

/** What a rule makes, or what was there before where the factor is not finite: such a number less itself is not 0. */
export const orKept = (factor: expr.E, next: expr.E, before: expr.E): expr.Expr =>
  expr.select(expr.eq(expr.sub(factor, factor), 0), next, before);

/** One parameter in one step, with the scalars of its rules as tensors of its dtype. */
export interface ScalarUpdate extends Update {
  /** Factor on the gradient. */
  readonly factor: Tensor;
  readonly schedule: readonly Tensor[];
}

const scalarsOf = (schedule: Tensor, dtype: DType): Tensor[] =>
  Array.from({ length: schedule.size }, (_, i) => schedule.narrow(0, i, 1).reshape([]).cast(dtype));

/** Runs `f` for each parameter in a scope of its own: the temporaries of one are freed before the next. */
export function eachUpdate(updates: readonly Update[], context: StepContext, f: (update: ScalarUpdate) => void): void {
  const { engine, gradientFactor, schedule } = context;
  for (const update of updates) {
    engine.scope(() => {
      const { parameter, gradient } = update;
      const factor = gradientFactor?.cast(parameter.dtype) ?? parameter.fullOf([], 1);
      f({
        ...update,
        gradient: gradient.cast(parameter.dtype),
        factor,
        schedule: scalarsOf(schedule, parameter.dtype),
      });
    });
  }
}

/** Runs an op that updates many tensors of one type at once; gradients come in the parameters' type. */
export function updateAll<A>(
  op: FusedOp<A>,
  updates: readonly Update[],
  { engine, gradientFactor, schedule }: StepContext,
  { attrs, tensorsOf }: { readonly attrs: A; readonly tensorsOf: (update: Update) => readonly Tensor[] },
): void {
  const factor = gradientFactor ?? full([], 1, { engine });
  for (const dtype of new Set(updates.map((u) => u.parameter.dtype))) {
    const tensors = updates
      .filter((u) => u.parameter.dtype === dtype)
      .flatMap((u) => tensorsOf({ ...u, gradient: u.gradient.cast(dtype) }));
    factor.applyAll(op, [factor.cast(dtype), schedule.cast(dtype), ...tensors], attrs);
  }
}
