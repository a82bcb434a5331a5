import {
  type AttrsOf,
  type DType,
  type Engine,
  isFloat,
  numel,
  type OpName,
  type ops,
  type Shape,
  type Tensor,
} from "@revnet-zero/tensor";
import fc from "fast-check";
import { Random } from "./seed.ts";
import type { SizeOptions } from "./shapes.ts";
import { drawValues, type Interval, type ValueKind } from "./values.ts";
import { contiguousView, layOut, storedShape, type ViewRecipe, views } from "./views.ts";

/** One operand before its values are drawn. */
export interface OperandPlan {
  readonly shape: Shape;
  readonly dtype: DType;
  /** Where the op is defined and smooth. Default: [-2, 2] for floats, all values for integers. */
  readonly domain?: Interval;
  /** Values that are not free: indices, targets, positions. */
  readonly values?: (random: Random, index: number) => number;
  /** The op writes into this operand, or cannot see it through strides: it must own its buffer. */
  readonly isContiguous?: boolean;
}

export interface Plan<A> {
  readonly operands: readonly OperandPlan[];
  readonly attrs: A;
}

export interface PlanOptions extends SizeOptions {
  /** Type of the operands that may have several. */
  readonly dtype: DType;
  /** Types the device has, for ops that name one. Default: all. */
  readonly device?: readonly DType[];
}

/** How calls of one op are drawn, and what their results are compared by. */
export interface Sampler<A> {
  /** Types the free operands may have. */
  readonly dtypes: readonly DType[];
  /** Types that the op always needs, whatever the free operands' is. */
  readonly needs?: readonly DType[];
  readonly plan: (options: PlanOptions) => fc.Arbitrary<Plan<A>>;
  /**
   * "bits": exactly the reference's result; "rounded": within the tolerance rule of the float64 result; "parts": exactly
   * what the backend's own kernels for the parts of a fused op give, gradients included.
   */
  readonly compare: "bits" | "rounded" | "parts";
  /** Linear in every operand: rounding errors are as large as the op of the absolute values. */
  readonly isMultilinear?: boolean;
  /** How large the sums may be that the op subtracts from each other. Default: the largest operand. */
  readonly termSize?: (operands: readonly OperandFacts[]) => number;
  /** Derived operands put in (a log-sum-exp for a backward op), so that differences see the whole function. */
  readonly complete?: (free: readonly Tensor[], attrs: A) => readonly Tensor[];
  /** Multiplies the number of runs: for ops whose attributes multiply the cases. Default 1. */
  readonly variety?: number;
  /** Outputs that may be differentiated; residuals are not. Default: all of a float type. */
  readonly differentiableOutputs?: readonly number[];
  /** The gradient by operand i is this factor times the first output's: fixed point, passed straight through. */
  readonly straightThrough?: (attrs: A) => readonly number[];
  /** Squares or multiplies in float64: without it the ends of the range overflow on the way. */
  readonly multipliesInDouble?: boolean;
  /** Why NaN and infinities are left out, for ops whose kernels may skip what the decomposition multiplies by zero. */
  readonly noSpecials?: string;
  /** The attributes of the same call in float64. */
  readonly widen?: (attrs: A) => A;
}

/** What a tolerance may ask of a free operand. */
export interface OperandFacts {
  readonly shape: Shape;
  /** The largest and the least finite magnitude; 0 and infinity without any. */
  readonly largest: number;
  readonly least: number;
}

type Table = typeof ops;
export type SamplerTable = { readonly [K in OpName]: Sampler<AttrsOf<Table[K]>> };

export interface OperandSample {
  readonly shape: Shape;
  readonly dtype: DType;
  /** What is stored: one value along repeated axes. */
  readonly values: Float64Array;
  readonly view: ViewRecipe;
}

/** One call of an op: operands as host data, so that it can be made on any backend and in any float type. */
export interface Sample {
  readonly operands: readonly OperandSample[];
  // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
  readonly attrs: any;
}

export interface SampleOptions extends PlanOptions {
  readonly values: ValueKind;
  /** Transposed, flipped, sliced and expanded operands. */
  readonly allowsViews?: boolean;
}

/** Calls of an op. Structure shrinks; values follow from a seed. */
export function samples(
  // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
  sampler: Sampler<any>,
  options: SampleOptions,
): fc.Arbitrary<Sample> {
  const allowsRepeated = options.values !== "smooth";
  const view = (o: OperandPlan): fc.Arbitrary<ViewRecipe> =>
    options.allowsViews === true && o.isContiguous !== true
      ? views(o.shape.length, { allowsRepeated })
      : fc.constant(contiguousView(o.shape.length));
  return sampler.plan(options).chain(({ operands, attrs }) =>
    fc.tuple(fc.nat({ max: 0xffffff }), ...operands.map(view)).map(([seed, ...recipes]) => {
      return printable({ attrs, operands: realize(operands, recipes, seed, options.values) });
    }),
  );
}

function realize(
  plans: readonly OperandPlan[],
  recipes: readonly ViewRecipe[],
  seed: number,
  kind: ValueKind,
): OperandSample[] {
  const random = new Random(seed);
  const free = plans.reduce((n, p) => n + (p.values === undefined && isFloat(p.dtype) ? numel(p.shape) : 0), 0);
  const cells = random.permutation(free + (free % 2));
  return plans.map(({ shape, dtype, domain, values }, i) => {
    const count = numel(storedShape(shape, recipes[i]!));
    const drawn =
      values === undefined
        ? drawValues(random, count, dtype, kind, { domain, cells })
        : Float64Array.from({ length: count }, (_, index) => values(random, index));
    return { shape, dtype, values: drawn, view: recipes[i]! };
  });
}

/** The sample's operands on an engine. Call inside a scope. */
export function operandsOf(engine: Engine, { operands }: Sample): Tensor[] {
  return operands.map((o) => layOut(engine, o.shape, o.dtype, o.values, o.view));
}

/** The same call with float operands in another type. */
export function inFloat(
  // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
  sampler: Sampler<any>,
  sample: Sample,
  dtype: DType = "f64",
): Sample {
  const operands = sample.operands.map((o) => (isFloat(o.dtype) ? { ...o, dtype } : o));
  return { operands, attrs: sampler.widen?.(sample.attrs) ?? sample.attrs };
}

/** The same call on row-major operands with buffers of their own. */
export const inRowMajor = (engine: Engine, operands: readonly Tensor[]): Tensor[] =>
  operands.map((t) => engine.noGrad(() => t.clone()));

function printable(sample: Sample): Sample {
  return Object.defineProperty(sample, fc.toStringMethod, {
    value: () => {
      const operands = sample.operands.map(({ shape, dtype, values, view }) => {
        const layout =
          JSON.stringify(view) === JSON.stringify(contiguousView(shape.length)) ? "" : ` ${fc.stringify(view)}`;
        return `[${shape.join(", ")}] ${dtype}${layout} of ${[...values].join(" ")}`;
      });
      return `${fc.stringify(sample.attrs)}\n  ${operands.join("\n  ")}`;
    },
  });
}
