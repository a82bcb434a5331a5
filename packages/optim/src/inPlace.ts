import {
  type DType,
  type ElementwiseOp,
  type Engine,
  elementwise,
  expr,
  type FusedOp,
  findKernel,
  full,
  type OpDef,
  type Tensor,
  writableCopyOf,
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

export interface UpdateOp<A> {
  readonly op: FusedOp<A>;
  /** The op that also writes copies of the parameters in another type, each of which comes after its parameter's tensors. */
  readonly copying?: FusedOp<A>;
  readonly attrs: A;
  readonly tensorsOf: (update: Update) => readonly Tensor[];
}

/**
 * Runs an op that updates many tensors of one type at once; gradients come in the parameters' type. Copies that autocast reads are written
 * with their parameters where the backend does so in one pass; elsewhere they are cast when they are next read.
 */
export function updateAll<A>(
  updates: readonly Update[],
  { engine, gradientFactor, schedule }: StepContext,
  { op, copying, attrs, tensorsOf }: UpdateOp<A>,
): void {
  const factor = gradientFactor ?? full([], 1, { engine });
  const copies = copyingKernel(engine, copying) ? copiesOf(updates) : new Map<Update, Tensor>();
  const kindOf = (u: Update): string => `${u.parameter.dtype} ${copies.get(u)?.dtype}`;
  for (const kind of new Set(updates.map(kindOf))) {
    const alike = updates.filter((u) => kindOf(u) === kind);
    const [{ parameter }] = alike as [Update];
    const { dtype } = parameter;
    const tensors = alike.flatMap((u) => {
      const copy = copies.get(u);
      return [...tensorsOf({ ...u, gradient: u.gradient.cast(dtype) }), ...(copy === undefined ? [] : [copy])];
    });
    const by = copies.has(alike[0]!) ? copying! : op;
    factor.applyAll(by, [factor.cast(dtype), schedule.cast(dtype), ...tensors], attrs);
  }
  for (const { storage } of copies.values()) storage.copyOf!.markCurrent();
}

const copyingKernel = <A>({ backend }: Engine, op: FusedOp<A> | undefined): boolean =>
  op !== undefined && findKernel(backend, op as OpDef<never>) !== undefined;

const copiesOf = (updates: readonly Update[]): Map<Update, Tensor> =>
  new Map(
    updates.flatMap((u) => {
      const copy = writableCopyOf(u.parameter);
      return copy === undefined ? [] : [[u, copy]];
    }),
  );
