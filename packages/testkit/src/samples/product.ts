import {
  type Activation,
  type AttrsOf,
  allDTypes,
  isFloat,
  numel,
  type ops,
  type Shape,
  statisticsType,
} from "@revnet-zero/tensor";
import fc from "fast-check";
import type { Plan, PlanOptions, SamplerTable } from "../sample.ts";
import { axisSize, broadcastableShapes, shapes } from "../shapes.ts";
import { hasCoarser } from "./coarser.ts";

const floats = allDTypes.filter(isFloat);

type Pair = readonly [number, number];
interface Conv {
  readonly x: Shape;
  readonly w: Shape;
  readonly y: Shape;
  readonly attrs: { readonly stride: Pair; readonly padding: Pair; readonly dilation: Pair; readonly groups: number };
}

const pair = (min: number, max: number): fc.Arbitrary<Pair> =>
  fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }));

/** A convolution whose kernel fits its padded input. */
const convolutions: fc.Arbitrary<Conv> = fc
  .record({
    batch: fc.integer({ min: 1, max: 2 }),
    groups: fc.integer({ min: 1, max: 2 }),
    channels: fc.integer({ min: 1, max: 2 }),
    out: fc.integer({ min: 1, max: 2 }),
    kernel: pair(1, 3),
    stride: pair(1, 2),
    padding: pair(0, 1),
    dilation: pair(1, 2),
    spare: pair(0, 3),
  })
  .map(({ batch, groups, channels, out, kernel, stride, padding, dilation, spare }) => {
    const reach = kernel.map((k, d) => dilation[d]! * (k - 1) + 1);
    const spatial = reach.map((r, d) => Math.max(1, r - 2 * padding[d]!) + spare[d]!);
    const output = spatial.map((s, d) => Math.floor((s + 2 * padding[d]! - reach[d]!) / stride[d]!) + 1);
    return {
      x: [batch, groups * channels, ...spatial],
      w: [groups * out, channels, ...kernel],
      y: [batch, groups * out, ...output],
      attrs: { stride, padding, dilation, groups },
    };
  });

const linearPlan = ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<{ readonly activation: Activation }>> =>
  fc
    .record({
      lead: shapes({ ...sizes, maxRank: 2 }),
      inner: axisSize(sizes),
      out: axisSize(sizes),
      hasBias: fc.boolean(),
      activation: fc.constantFrom<Activation>("none", "gelu", "geluExact", "silu", "relu"),
    })
    .map(({ lead, inner, out, hasBias, activation }) => ({
      operands: [[...lead, inner], [out, inner], ...(hasBias ? [[out]] : [])].map((shape) => ({ shape, dtype })),
      attrs: { activation },
    }));

const gated = fc.constantFrom<Exclude<Activation, "none">>("gelu", "geluExact", "silu", "relu");

/** Input, weights and perhaps biases of two layers. */
const feedForwardPlan = ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<AttrsOf<typeof ops.feedForward>>> =>
  fc
    .record({
      lead: shapes({ ...sizes, maxRank: 2 }),
      inner: axisSize(sizes),
      hidden: axisSize(sizes),
      out: axisSize(sizes),
      hasBias: fc.boolean(),
      activation: gated,
    })
    .map(({ lead, inner, hidden, out, hasBias, activation }) => ({
      operands: [[...lead, inner], [hidden, inner], [out, hidden], ...(hasBias ? [[hidden], [out]] : [])].map(
        (shape) => ({ shape, dtype }),
      ),
      attrs: { activation },
    }));

/** A gradient, a weight and what the activation was given. */
const linearActivationBackwardPlan = ({
  dtype,
  ...sizes
}: PlanOptions): fc.Arbitrary<Plan<AttrsOf<typeof ops.linearActivationBackward>>> =>
  fc
    .record({
      lead: shapes({ ...sizes, maxRank: 2 }),
      inner: axisSize(sizes),
      out: axisSize(sizes),
      hasSums: fc.boolean(),
      isWide: fc.boolean(),
      activation: gated,
    })
    .map(({ lead, inner, out, hasSums, isWide, activation }) => ({
      operands: [
        [...lead, out],
        [out, inner],
        [...lead, inner],
      ].map((shape) => ({ shape, dtype })),
      attrs: { activation, ...(hasSums ? { sums: isWide ? statisticsType(dtype) : dtype } : {}) },
    }));

/** A gradient and an input of the same rows. */
const linearParametersBackwardPlan = ({
  dtype,
  ...sizes
}: PlanOptions): fc.Arbitrary<Plan<AttrsOf<typeof ops.linearParametersBackward>>> =>
  fc
    .record({
      lead: shapes({ ...sizes, maxRank: 2 }),
      inner: axisSize(sizes),
      out: axisSize(sizes),
      hasBias: fc.boolean(),
      isWide: fc.boolean(),
    })
    .map(({ lead, inner, out, hasBias, isWide }) => ({
      operands: [out, inner].map((size) => ({ shape: [...lead, size], dtype })),
      attrs: { hasBias, to: isWide ? statisticsType(dtype) : dtype },
    }));

/** Attributes that name a type, in float64. */
const inDouble = <A>(attrs: A): A => {
  const named = Object.entries(attrs as object).map(([name, v]) => [
    name,
    name === "to" || name === "sums" ? "f64" : v,
  ]);
  return Object.fromEntries(named) as A;
};

export const productSamplers: Pick<
  SamplerTable,
  | "matmul"
  | "matmulAdd"
  | "linear"
  | "feedForward"
  | "linearActivationBackward"
  | "linearParametersBackward"
  | "conv2d"
  | "conv2dInputGradient"
  | "conv2dWeightGradient"
> = {
  matmul: {
    dtypes: [...floats, "i8"],
    compare: "rounded",
    isMultilinear: true,
    plan: ({ dtype, ...sizes }) =>
      fc
        .tuple(
          broadcastableShapes(2, { maxRank: 2, allowsEmpty: sizes.allowsEmpty ?? false }),
          ...[1, 2, 3].map(() => axisSize(sizes)),
        )
        .map(([[a, b], m, k, n]) => ({
          operands: [
            { shape: [...a!, m!, k!], dtype },
            { shape: [...b!, k!, n!], dtype },
          ],
          attrs: undefined,
        })),
  },
  // The second output is a residual, but its gradient is asked for under second derivatives: both count.
  matmulAdd: {
    dtypes: floats,
    compare: "rounded",
    plan: ({ dtype, ...sizes }) =>
      fc
        .record({ m: axisSize(sizes), k: axisSize(sizes), n: axisSize(sizes), isCoarse: fc.boolean() })
        .map(({ m, k, n, isCoarse }) => {
          const factor = isCoarse && hasCoarser(dtype, sizes.device) ? "bf16" : dtype;
          const operands = [
            { shape: [m, n], dtype, isContiguous: true },
            { shape: [m, k], dtype: factor },
            { shape: [k, n], dtype: factor },
          ];
          return { operands, attrs: undefined };
        }),
    termSize: ([, a, b]) => a!.largest * b!.largest * Math.sqrt(a!.shape[1] ?? 1),
  },
  linear: { dtypes: floats, compare: "rounded", plan: linearPlan },
  feedForward: { dtypes: floats, compare: "rounded", plan: feedForwardPlan },
  linearActivationBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: linearActivationBackwardPlan,
    widen: inDouble,
    // The sums are of as many products as there are rows.
    termSize: ([g, w]) =>
      g!.largest * w!.largest * Math.sqrt((w!.shape[0] ?? 1) * Math.max(1, numel(g!.shape.slice(0, -1)))),
  },
  linearParametersBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: linearParametersBackwardPlan,
    widen: inDouble,
    termSize: ([g, x]) => g!.largest * Math.max(1, x!.largest) * Math.sqrt(Math.max(1, numel(g!.shape.slice(0, -1)))),
  },
  conv2d: {
    dtypes: floats,
    compare: "rounded",
    isMultilinear: true,
    plan: ({ dtype }) =>
      convolutions.map(({ x, w, attrs }) => ({ operands: [x, w].map((shape) => ({ shape, dtype })), attrs })),
  },
  conv2dInputGradient: {
    dtypes: floats,
    compare: "rounded",
    isMultilinear: true,
    plan: ({ dtype }) =>
      convolutions.map(({ x, w, y, attrs }) => ({
        operands: [y, w].map((shape) => ({ shape, dtype })),
        attrs: { ...attrs, shape: x },
      })),
  },
  conv2dWeightGradient: {
    dtypes: floats,
    compare: "rounded",
    isMultilinear: true,
    plan: ({ dtype }) =>
      convolutions.map(({ x, w, y, attrs }) => ({
        operands: [y, x].map((shape) => ({ shape, dtype })),
        attrs: { ...attrs, shape: w },
      })),
  },
};
