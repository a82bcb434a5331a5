import type { DType } from "./dtype.ts";
import type { Expr } from "./expr/expr.ts";
import type { Layout } from "./layout.ts";
import type { Shape } from "./shape.ts";
import type { Tensor } from "./tensor/tensor.ts";

/** Shape and dtype: all that is known of a tensor before it exists. */
export interface Meta {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What the backward pass of an op keeps alive. Declared, never captured, so that the memory planner can read it. */
export interface Saves {
  /** Indices of inputs. */
  readonly inputs?: readonly number[];
  /** Indices of outputs; residuals such as a log-sum-exp are outputs too. */
  readonly outputs?: readonly number[];
}

/** What a `vjp` is given. Only what `saves` names is present; reading anything else throws. */
export interface VjpContext {
  input(index: number): Tensor;
  output(index: number): Tensor;
  /** It is not read again: the graph lets go of it, so that disposing of what `output` gave makes room for what follows. */
  releaseOutput(index: number): void;
  readonly inputs: readonly Meta[];
  readonly outputs: readonly Meta[];
  /** One gradient per output; undefined where none arrived. */
  readonly gradients: readonly (Tensor | undefined)[];
  /** The first output's gradient, as zeros when only another output received one. */
  readonly gradient: Tensor;
  /** Which inputs need a gradient; computing another is wasted work. */
  readonly needs: readonly boolean[];
  /** The type in which each input's gradient is wanted most: its own, or a wider one that it is going to be cast to. Either may be given. */
  readonly gradientTypes: readonly DType[];
  /**
   * What an input has received so far, where the pass can give that up: the vjp writes over it and returns it with its own gradient added, which
   * saves a buffer and a pass over it. To be asked for once. Undefined where nothing arrived, or others hold it.
   */
  takeReceived(index: number): Tensor | undefined;
}

export type Attrs = Readonly<Record<string, unknown>> | undefined;

interface OpBase<A> {
  readonly name: string;
  /** Number of inputs, or "variadic". */
  readonly arity: number | "variadic";
  /** One line for the generated op table. */
  readonly doc: string;
  /** Shapes and dtypes of the outputs; throws ShapeError, DTypeError or ValueError before anything is allocated. */
  readonly meta: (inputs: readonly Meta[], attrs: A) => readonly Meta[];
  /** Floating-point operations, for the profiler and the planner. Default: one per output element. */
  readonly flops?: (inputs: readonly Meta[], outputs: readonly Meta[], attrs: A) => number;
  /** Under autocast: "low" computes in the low precision (matrix products), "high" insists on f32 (norms, losses). */
  readonly autocast?: "low" | "high";
  /** Inputs that autocast leaves as they are: read in their own float type, whatever the others have. */
  readonly readsAnyFloat?: readonly number[];
  /** Output `i` is written over input `mutates[i]`, where that is one. */
  readonly mutates?: (inputs: readonly Meta[], attrs: A) => readonly (number | undefined)[];
  /** Output 0 may be written over this input when the caller gives the input up. Same shape and dtype. */
  readonly mayAlias?: number;
  /** A wider type in which it takes its output's gradient too: that of an input from which it was rounded. */
  readonly widerGradient?: (inputs: readonly Meta[], attrs: A) => DType | undefined;
  /** Its i32 output is a fixed-point stream, which carries gradients although it is an integer. */
  readonly entersFixedPoint?: boolean;
}

interface Differentiable<A> {
  readonly saves: (inputs: readonly Meta[], attrs: A) => Saves;
  /**
   * One gradient per input, each of the input's shape (broadcast axes are summed away by the engine when the
   * gradient comes back in the broadcast shape). Written with ops of the table, so it can be differentiated again.
   */
  readonly vjp: (context: VjpContext, attrs: A) => readonly (Tensor | undefined)[];
}

interface DifferentiatedThrough<A> {
  /**
   * The same outputs as a recorded computation. Backward ops use it to rebuild residuals (a mean, a log-sum-exp) from
   * the inputs they came from, so that second derivatives flow to those and not into the residual.
   */
  readonly through: (inputs: readonly Tensor[], attrs: A) => readonly Tensor[];
}

/**
 * How an op is differentiated: by its own rule; through its decomposition or another recorded form, run again when
 * needed; or not at all (comparisons, indices, in-place updates).
 */
export type Gradient<A> = Differentiable<A> | DifferentiatedThrough<A> | "decomposition" | "none";

/** Elementwise ops carry a scalar body; every backend prints it, and its derivative is generated from it. */
export interface ElementwiseOp<A = undefined> extends OpBase<A> {
  readonly kind: "elementwise";
  readonly body: (args: readonly Expr[], attrs: A) => Expr;
  readonly gradient: Gradient<A>;
  /** Interval inputs are drawn from in tests, where the op is smooth and defined. */
  readonly domain?: readonly [number, number];
}

/** Ops every backend must have a kernel for. */
export interface PrimitiveOp<A = undefined> extends OpBase<A> {
  readonly kind: "primitive";
  readonly gradient: Differentiable<A> | "none";
}

/** Ops a backend may have a kernel for; without one, the decomposition runs. */
export interface FusedOp<A = undefined> extends OpBase<A> {
  readonly kind: "fused";
  /** The same outputs from simpler ops of the table. */
  readonly decompose: (inputs: readonly Tensor[], attrs: A) => readonly Tensor[];
  readonly gradient: Gradient<A>;
}

/** Ops that only change the layout: no kernel, no copy. */
export interface ViewOp<A = undefined> extends OpBase<A> {
  readonly kind: "view";
  /** A layout for each output, on the input's buffer. */
  readonly view: (input: Layout, attrs: A) => readonly Layout[];
  readonly gradient: Differentiable<A>;
}

export type OpDef<A = undefined> = ElementwiseOp<A> | PrimitiveOp<A> | FusedOp<A> | ViewOp<A>;
// biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op; the table keeps each one's own type.
export type AnyOp = OpDef<any>;
export type AttrsOf<O> = O extends OpDef<infer A> ? A : never;

/** Writing ops with these keeps their attribute type and their kind. */
export const elementwise = <A = undefined>(op: Omit<ElementwiseOp<A>, "kind">): ElementwiseOp<A> => ({
  kind: "elementwise",
  ...op,
});
export const primitive = <A = undefined>(op: Omit<PrimitiveOp<A>, "kind">): PrimitiveOp<A> => ({
  kind: "primitive",
  ...op,
});
export const fused = <A = undefined>(op: Omit<FusedOp<A>, "kind">): FusedOp<A> => ({ kind: "fused", ...op });
export const view = <A = undefined>(op: Omit<ViewOp<A>, "kind">): ViewOp<A> => ({ kind: "view", ...op });
