import { allDTypes, isFloat, type Shape } from "@revnet-zero/tensor";
import fc from "fast-check";
import type { Plan, PlanOptions, Sampler, SamplerTable } from "../sample.ts";
import { axisSize, clampShape, shapes } from "../shapes.ts";

interface ReduceAttrs {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

/** A shape and some of its axes, of which none is empty where the op needs elements. */
function reduction(needsElements: boolean) {
  return ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<ReduceAttrs>> =>
    shapes(sizes).chain((drawn) =>
      fc.tuple(fc.subarray(drawn.map((_, d) => d)), fc.boolean()).map(([axes, keepDims]) => {
        const shape = drawn.map((s, d) => (needsElements && axes.includes(d) ? Math.max(1, s) : s));
        return { operands: [{ shape, dtype }], attrs: { axes, keepDims } };
      }),
    );
}

/** A shape of rank 1 to 3 with one of its axes, which is empty only where `isFree`. */
export function withAxis(
  sizes: PlanOptions,
  isFree = true,
): fc.Arbitrary<{ readonly shape: Shape; readonly axis: number }> {
  return shapes({ ...sizes, minRank: 1 }).chain((drawn) =>
    fc.nat({ max: drawn.length - 1 }).map((axis) => ({
      axis,
      shape: drawn.map((s, d) => (d === axis && !isFree ? Math.max(1, s) : s)),
    })),
  );
}

/** Rows `[..., d]` with d at least 1. */
export const rows = (sizes: PlanOptions): fc.Arbitrary<Shape> =>
  fc
    .tuple(shapes({ ...sizes, maxRank: 2 }), axisSize({ ...sizes, allowsEmpty: false }))
    .map(([lead, d]) => clampShape([...lead, d]));

const extremum: Sampler<ReduceAttrs> = { dtypes: allDTypes, compare: "bits", plan: reduction(true) };
const argExtremum: Sampler<{ readonly axis: number }> = {
  dtypes: allDTypes,
  compare: "bits",
  plan: (options) =>
    withAxis(options, false).map(({ shape, axis }) => ({
      operands: [{ shape, dtype: options.dtype }],
      attrs: { axis },
    })),
};

export const reduceSamplers: Pick<
  SamplerTable,
  "sum" | "prod" | "max" | "min" | "argmax" | "argmin" | "cumsum" | "sort" | "topk" | "globalNorm"
> = {
  sum: { dtypes: allDTypes, compare: "rounded", isMultilinear: true, plan: reduction(false) },
  prod: { dtypes: allDTypes, compare: "rounded", multipliesInDouble: true, plan: reduction(false) },
  max: extremum,
  min: extremum,
  argmax: argExtremum,
  argmin: argExtremum,
  cumsum: {
    dtypes: allDTypes,
    compare: "rounded",
    isMultilinear: true,
    plan: (options) =>
      withAxis(options).map(({ shape, axis }) => ({ operands: [{ shape, dtype: options.dtype }], attrs: { axis } })),
  },
  sort: {
    dtypes: allDTypes,
    compare: "bits",
    plan: (options) =>
      fc.tuple(withAxis(options), fc.boolean()).map(([{ shape, axis }, descending]) => ({
        operands: [{ shape, dtype: options.dtype }],
        attrs: { axis, descending },
      })),
  },
  topk: {
    dtypes: allDTypes,
    compare: "bits",
    plan: (options) =>
      withAxis(options).chain(({ shape, axis }) =>
        fc.nat({ max: shape[axis]! }).map((k) => ({
          operands: [{ shape, dtype: options.dtype }],
          attrs: { axis, k },
        })),
      ),
  },
  globalNorm: {
    multipliesInDouble: true,
    dtypes: allDTypes.filter(isFloat),
    compare: "rounded",
    plan: ({ dtype, ...sizes }) =>
      fc.array(shapes(sizes), { minLength: 1, maxLength: 3 }).map((list) => ({
        operands: list.map((shape) => ({ shape, dtype })),
        attrs: undefined,
      })),
  },
};
