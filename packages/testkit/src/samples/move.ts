import { allDTypes, numel, type Shape } from "@revnet-zero/tensor";
import fc from "fast-check";
import type { OperandPlan, Plan, PlanOptions, SamplerTable } from "../sample.ts";
import { axisSize, broadcastableShapes, clampShape, shapes } from "../shapes.ts";
import { withAxis } from "./reduce.ts";

const numbers = allDTypes.filter((d) => d !== "bool");
const anywhere = (size: number): fc.Arbitrary<number> => fc.nat({ max: Math.max(0, size) });
const tuple = <T>(list: readonly fc.Arbitrary<T>[]): fc.Arbitrary<T[]> => fc.tuple(...list) as fc.Arbitrary<T[]>;

/** i32 places among `size`, with repetitions. */
const indices = (shape: Shape, size: number): OperandPlan => ({
  shape,
  dtype: "i32",
  values: (random) => random.integer(0, size - 1),
});

/** A rectangle inside a shape. */
const rectangle = (shape: Shape): fc.Arbitrary<{ readonly starts: number[]; readonly sizes: number[] }> =>
  tuple(shape.map((s) => anywhere(s).chain((start) => fc.tuple(fc.constant(start), anywhere(s - start))))).map(
    (list) => ({
      starts: list.map(([start]) => start),
      sizes: list.map(([, size]) => size),
    }),
  );

/** A tensor and what goes into a rectangle of it; `isOwned`: it is written where it lies. */
const rectanglePlan =
  (isOwned: boolean) =>
  ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<{ readonly starts: readonly number[] }>> =>
    shapes(sizes).chain((shape) =>
      rectangle(shape).map(({ starts, sizes: part }) => ({
        operands: [
          { shape, dtype, ...(isOwned ? { isContiguous: true } : {}) },
          { shape: part, dtype },
        ],
        attrs: { starts },
      })),
    );

/** Shapes of as many elements, with ones put in and axes joined and split. */
function reshapings(shape: Shape): fc.Arbitrary<Shape> {
  const n = numel(shape);
  if (n === 0) return fc.constantFrom<Shape>(shape, [0], [2, 0, 3]);
  const splits = [2, 3, 4, 5].filter((k) => n % k === 0).map((k) => [k, n / k]);
  return fc.constantFrom<Shape>([n], [...shape, 1], [1, ...shape], [...shape].reverse(), shape, ...splits);
}

export const moveSamplers: Pick<
  SamplerTable,
  | "take"
  | "scatterAdd"
  | "scatterAddTo"
  | "takeAlong"
  | "scatterAddAlong"
  | "pad"
  | "concat"
  | "overwrite"
  | "writeSlice"
  | "alias"
  | "expand"
  | "flip"
  | "permute"
  | "reshape"
  | "slice"
  | "split"
> = {
  take: {
    dtypes: allDTypes,
    compare: "bits",
    plan: (options) =>
      fc.tuple(withAxis(options, false), shapes({ ...options, maxRank: 2 })).map(([{ shape, axis }, places]) => ({
        operands: [{ shape: clampShape(shape), dtype: options.dtype }, indices(places, clampShape(shape)[axis]!)],
        attrs: { axis },
      })),
  },
  scatterAdd: {
    dtypes: numbers,
    compare: "rounded",
    isMultilinear: true,
    plan: (options) =>
      fc
        .tuple(withAxis(options), shapes({ ...options, maxRank: 2 }), axisSize())
        .map(([{ shape, axis }, places, size]) => ({
          operands: [
            indices(places, size),
            { shape: [...shape.slice(0, axis), ...places, ...shape.slice(axis + 1)], dtype: options.dtype },
          ],
          attrs: { axis, size },
        })),
  },
  scatterAddTo: {
    dtypes: ["f32"],
    compare: "parts",
    plan: (options) =>
      fc
        .tuple(withAxis(options), shapes({ ...options, maxRank: 2 }), axisSize())
        .map(([{ shape, axis }, places, size]) => ({
          operands: [
            { shape: shape.map((s, d) => (d === axis ? size : s)), dtype: options.dtype, isContiguous: true },
            indices(places, size),
            { shape: [...shape.slice(0, axis), ...places, ...shape.slice(axis + 1)], dtype: options.dtype },
          ],
          attrs: { axis },
        })),
  },
  takeAlong: {
    dtypes: allDTypes,
    compare: "bits",
    plan: (options) =>
      fc.tuple(withAxis(options, false), axisSize(options)).map(([{ shape, axis }, count]) => ({
        operands: [
          { shape, dtype: options.dtype },
          indices(
            shape.map((s, d) => (d === axis ? count : s)),
            shape[axis]!,
          ),
        ],
        attrs: { axis },
      })),
  },
  scatterAddAlong: {
    dtypes: numbers,
    compare: "rounded",
    isMultilinear: true,
    plan: (options) =>
      fc.tuple(withAxis(options), axisSize()).map(([{ shape, axis }, size]) => ({
        operands: [indices(shape, size), { shape, dtype: options.dtype }],
        attrs: { axis, size },
      })),
  },
  pad: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      shapes(sizes).chain((shape) =>
        fc
          .tuple(tuple(shape.map(() => fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 2 })))), fc.constantFrom(0, 1, -7.5))
          .map(([pads, value]) => ({ operands: [{ shape, dtype }], attrs: { pads, value } })),
      ),
  },
  concat: {
    dtypes: allDTypes,
    compare: "bits",
    plan: (options) =>
      fc
        .tuple(withAxis(options), fc.array(axisSize(options), { minLength: 1, maxLength: 3 }))
        .map(([{ shape, axis }, parts]) => ({
          operands: parts.map((p) => ({ shape: shape.map((s, d) => (d === axis ? p : s)), dtype: options.dtype })),
          attrs: { axis },
        })),
  },
  overwrite: { dtypes: allDTypes, compare: "bits", plan: rectanglePlan(true) },
  writeSlice: { dtypes: allDTypes, compare: "bits", plan: rectanglePlan(false) },
  alias: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) => shapes(sizes).map((shape) => ({ operands: [{ shape, dtype }], attrs: undefined })),
  },
  expand: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      broadcastableShapes(1, sizes)
        .chain(([from]) =>
          fc.tuple(
            fc.constant(from!),
            tuple(from!.map((s) => (s === 1 ? axisSize() : fc.constant(s)))),
            shapes({ maxRank: 1 }),
          ),
        )
        .map(([from, to, lead]) => ({ operands: [{ shape: from, dtype }], attrs: { shape: [...lead, ...to] } })),
  },
  flip: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      shapes(sizes).chain((shape) =>
        fc.subarray(shape.map((_, d) => d)).map((axes) => ({ operands: [{ shape, dtype }], attrs: { axes } })),
      ),
  },
  permute: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      shapes(sizes).chain((shape) =>
        fc
          .shuffledSubarray(
            shape.map((_, d) => d),
            { minLength: shape.length },
          )
          .map((axes) => ({ operands: [{ shape, dtype }], attrs: { axes } })),
      ),
  },
  reshape: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      shapes(sizes).chain((shape) =>
        reshapings(shape).map((to) => ({ operands: [{ shape, dtype, isContiguous: true }], attrs: { shape: to } })),
      ),
  },
  slice: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      shapes(sizes).chain((shape) => rectangle(shape).map((attrs) => ({ operands: [{ shape, dtype }], attrs }))),
  },
  split: {
    dtypes: allDTypes,
    compare: "bits",
    plan: (options) =>
      withAxis(options).chain(({ shape, axis }) =>
        fc.array(fc.nat({ max: shape[axis]! }), { maxLength: 3 }).map((cuts) => {
          const ends = [...cuts.sort((a, b) => a - b), shape[axis]!];
          const sizes = ends.map((end, i) => end - (ends[i - 1] ?? 0));
          return { operands: [{ shape, dtype: options.dtype }], attrs: { axis, sizes } };
        }),
      ),
  },
};
