import {
  allDTypes,
  type DType,
  isFloat,
  numel,
  ops,
  type Shape,
  statisticsType,
  type Tensor,
} from "@revnet-zero/tensor";
import fc from "fast-check";
import type { OperandFacts, OperandPlan, Plan, PlanOptions, SamplerTable } from "../sample.ts";
import { axisSize, shapes } from "../shapes.ts";
import { hasCoarser } from "./coarser.ts";
import { channelPlan, fixedPointDomain, gridDomain } from "./elementwise.ts";
import { rows } from "./reduce.ts";

const floats = allDTypes.filter(isFloat);
const eps = fc.constantFrom(1e-5, 0.1).map((e) => ({ eps: e }));

/** The type of a norm's result: that of its rows, or a coarser one that the device has. */
const results = ({ dtype, device }: PlanOptions): fc.Arbitrary<{ readonly to?: DType }> =>
  hasCoarser(dtype, device) ? fc.constantFrom({}, { to: "bf16" as const }) : fc.constant({});
/** What is added to rows of a type: it may be coarser. */
const increments = ({ dtype, device }: PlanOptions): fc.Arbitrary<DType> =>
  hasCoarser(dtype, device) ? fc.constantFrom("f32" as const, "bf16" as const) : fc.constant(dtype);

/** Rows x `[..., d]` and as many vectors `[d]` as named, then whatever else has the shape of x. */
const normPlan =
  (vectors: number, like: number) =>
  ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<{ readonly eps: number }>> =>
    fc.tuple(rows({ dtype, ...sizes }), eps, results({ dtype, ...sizes })).map(([x, attrs, { to = dtype }]) => {
      const d: Shape = [x[x.length - 1]!];
      const vector = { shape: d, dtype };
      const gradient = { shape: x, dtype: to };
      const operands = [{ shape: x, dtype }, ...Array(vectors).fill(vector), ...Array(like).fill(gradient)];
      return { operands, attrs: to === dtype || like > 0 ? attrs : { ...attrs, to } };
    });

/** Stream and increment `[..., d]`, then weight and perhaps bias `[d]`. */
const addNormPlan = ({
  dtype,
  ...sizes
}: PlanOptions): fc.Arbitrary<Plan<{ readonly eps: number; readonly to?: DType }>> =>
  fc
    .tuple(rows({ dtype, ...sizes }), eps, fc.boolean(), results({ dtype, ...sizes }), increments({ dtype, ...sizes }))
    .map(([x, attrs, hasMean, result, increment]) => {
      const d: Shape = [x[x.length - 1]!];
      const operands = [x, x, d, ...(hasMean ? [d] : [])].map((shape, i) => ({
        shape,
        dtype: i === 1 ? increment : dtype,
      }));
      return { operands, attrs: { ...attrs, ...result } };
    });

/** Sum, weight, the norm's gradient and perhaps the sum's. */
const addNormBackwardPlan = ({
  dtype,
  ...sizes
}: PlanOptions): fc.Arbitrary<Plan<{ readonly eps: number; readonly hasMean: boolean; readonly to?: DType }>> =>
  fc
    .tuple(
      rows({ dtype, ...sizes }),
      eps,
      fc.boolean(),
      fc.boolean(),
      results({ dtype, ...sizes }),
      increments({ dtype, ...sizes }),
    )
    .map(([x, attrs, hasMean, hasDirect, result, gradient]) => {
      const list = [x, [x[x.length - 1]!], x, ...(hasDirect ? [x] : [])];
      return {
        operands: list.map((shape, i) => ({ shape, dtype: i === 2 ? gradient : dtype })),
        attrs: { ...attrs, ...result, hasMean },
      };
    });

const rowPlan =
  (count: number) =>
  ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<undefined>> =>
    rows({ dtype, ...sizes }).map((shape) => ({
      operands: Array.from({ length: count }, () => ({ shape, dtype })),
      attrs: undefined,
    }));

/** Class numbers, now and then a negative one: an ignored row. */
const targets = (n: number, classes: number): OperandPlan => ({
  shape: [n],
  dtype: "i32",
  values: (random) => (random.unit() < 0.2 ? -1 : random.integer(0, classes - 1)),
});

const crossEntropyPlan =
  (hasGradient: boolean) =>
  (options: PlanOptions): fc.Arbitrary<Plan<undefined>> =>
    fc.tuple(axisSize(options), axisSize({ ...options, allowsEmpty: false })).map(([n, classes]) => ({
      operands: [
        { shape: [n, classes], dtype: options.dtype },
        targets(n, classes),
        ...(hasGradient ? [{ shape: [n], dtype: statisticsType(options.dtype) }] : []),
      ],
      attrs: undefined,
    }));

interface Attention {
  readonly scale: number;
  readonly isCausal: boolean;
  readonly window?: number;
}

interface DecodeAttention extends Omit<Attention, "isCausal"> {
  readonly keyHeads: number;
  readonly base: number | undefined;
}
interface HeadAttention extends Attention {
  readonly keyHeads: number;
  readonly base: number;
}

/** Grouped-query heads; a causal mask where no query is left without a key; a window now and then. */
const attentionPlan =
  (hasGradient: boolean) =>
  ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<Attention>> =>
    fc
      .record({
        b: fc.integer({ min: 1, max: 2 }),
        heads: fc.integer({ min: 1, max: 2 }),
        group: fc.integer({ min: 1, max: 2 }),
        t: axisSize({ ...sizes, allowsEmpty: false }),
        extra: fc.nat({ max: 2 }),
        d: fc.integer({ min: 1, max: 4 }),
        e: fc.integer({ min: 1, max: 4 }),
        scale: fc.constantFrom(1, 0.5),
        isCausal: fc.boolean(),
        window: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      })
      .map(({ b, heads, group, t, extra, d, e, scale, isCausal, window }) => {
        const q = [b, heads * group, t, d];
        const list = [q, [b, heads, t + extra, d], [b, heads, t + extra, e]];
        if (hasGradient) list.push([b, heads * group, t, e]);
        return {
          operands: list.map((shape) => ({ shape, dtype })),
          attrs: { scale, isCausal, ...(isCausal && window !== undefined ? { window } : {}) },
        };
      });

/** Packed heads of queries, keys and values, with positions or without; then a gradient of the output. */
const headAttentionPlan =
  (hasGradient: boolean) =>
  ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<HeadAttention>> =>
    fc
      .record({
        b: fc.integer({ min: 1, max: 2 }),
        keyHeads: fc.integer({ min: 1, max: 2 }),
        group: fc.integer({ min: 1, max: 2 }),
        t: axisSize({ ...sizes, allowsEmpty: false }),
        half: fc.integer({ min: 1, max: 2 }),
        scale: fc.constantFrom(1, 0.5),
        isCausal: fc.boolean(),
        window: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
        isTurned: fc.boolean(),
      })
      .map(({ b, keyHeads, group, t, half, scale, isCausal, window, isTurned }) => {
        const operands: OperandPlan[] = [{ shape: [b, t, keyHeads * (group + 2), 2 * half], dtype }];
        if (hasGradient) operands.push({ shape: [b, t, keyHeads * group, 2 * half], dtype });
        if (isTurned) operands.push({ shape: [t], dtype: "i32", values: (random) => random.integer(0, 60) });
        const attrs = { keyHeads, base: 50, scale, isCausal, ...(isCausal && window !== undefined ? { window } : {}) };
        return { operands, attrs };
      });

/** One step among some that are kept. */
const decodeAttentionPlan = ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<DecodeAttention>> =>
  fc
    .record({
      b: fc.integer({ min: 1, max: 2 }),
      keyHeads: fc.integer({ min: 1, max: 2 }),
      group: fc.integer({ min: 1, max: 2 }),
      length: axisSize({ ...sizes, allowsEmpty: false }),
      at: fc.nat(),
      half: fc.integer({ min: 1, max: 4 }),
      scale: fc.constantFrom(1, 0.5),
      window: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      base: fc.constantFrom(undefined, 50),
      hasOwnPlaces: fc.boolean(),
    })
    .map(({ b, keyHeads, group, length, at, half, scale, window, base, hasOwnPlaces }) => {
      const kept: OperandPlan = { shape: [b, keyHeads, length, 2 * half], dtype, isContiguous: true };
      const operands: OperandPlan[] = [
        { shape: [b, 1, keyHeads * (group + 2), 2 * half], dtype },
        { shape: [hasOwnPlaces ? b : 1], dtype: "i32", values: (random) => (at + random.integer(0, length)) % length },
        ...[kept, kept],
      ];
      return { operands, attrs: { keyHeads, base, scale, ...(window === undefined ? {} : { window }) } };
    });

const skips = "kernels skip masked keys, which the decomposition multiplies by zero";

const signs = fc.constantFrom(1 as const, -1 as const);

/** A record that a coupling step counts in, and its row; or none. */
const records = fc.constantFrom<{ record: readonly OperandPlan[]; row: { readonly row?: number } }>(
  { record: [], row: {} },
  { record: [{ shape: [4, 3], dtype: "i32", isContiguous: true, domain: [-9, 9] }], row: { row: 2 } },
);

const rowsOf = ({ shape }: OperandFacts): number => numel(shape.slice(0, -1));

const first = (list: readonly Tensor[]): [Tensor, Tensor, Tensor, Tensor] =>
  list as unknown as [Tensor, Tensor, Tensor, Tensor];

export const fusedSamplers: Pick<
  SamplerTable,
  | "softmax"
  | "softmaxBackward"
  | "logSoftmax"
  | "crossEntropy"
  | "crossEntropyBackward"
  | "crossEntropyWithGradient"
  | "addNorm"
  | "addNormBackward"
  | "fixedPointAddNorm"
  | "fixedPointNorm"
  | "layerNorm"
  | "layerNormBackward"
  | "rmsNorm"
  | "rmsNormBackward"
  | "rope"
  | "attention"
  | "attentionBackward"
  | "headAttention"
  | "headAttentionBackward"
  | "decodeAttention"
  | "fixedPointAdd"
  | "channelFixedPointAdd"
  | "gridAdd"
> = {
  softmax: { dtypes: floats, compare: "rounded", plan: rowPlan(1) },
  softmaxBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: rowPlan(2),
    // y times a sum over the row, whose y need not be probabilities here.
    termSize: ([y, g]) => y!.largest ** 2 * g!.largest * Math.sqrt(y!.shape[y!.shape.length - 1] ?? 1),
  },
  logSoftmax: { dtypes: floats, compare: "rounded", plan: rowPlan(1) },
  crossEntropy: { dtypes: floats, compare: "rounded", plan: crossEntropyPlan(false) },
  crossEntropyBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: crossEntropyPlan(true),
    complete: (free) => {
      const [x, t, g] = first(free);
      return [x, t, x.applyAll(ops.crossEntropy, [x, t], undefined)[1]!, g];
    },
  },
  crossEntropyWithGradient: { dtypes: floats, compare: "rounded", plan: crossEntropyPlan(false) },
  addNorm: { dtypes: floats, compare: "rounded", plan: addNormPlan, differentiableOutputs: [0, 1] },
  addNormBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: addNormBackwardPlan,
    termSize: ([x, w, g, direct]) =>
      Math.max(1, w!.largest) * g!.largest * Math.sqrt(rowsOf(x!)) * Math.max(1, Math.min(1e3, 1 / x!.least)) +
      (direct?.largest ?? 0),
    complete: (free, { hasMean, eps }) => {
      const [x, w, g, direct] = first(free);
      const statistics = hasMean
        ? x.applyAll(ops.layerNorm, [x, w, w], { eps })
        : x.applyAll(ops.rmsNorm, [x, w], { eps });
      return [x, w, ...statistics.slice(1), g, ...(direct === undefined ? [] : [direct])];
    },
  },
  fixedPointNorm: {
    dtypes: ["f32"],
    compare: "parts",
    differentiableOutputs: [0],
    plan: (options) =>
      fc
        .tuple(normPlan(1, 0)(options), fc.boolean(), fc.integer({ min: 4, max: 24 }))
        .map(([plan, hasMean, fractionBits]) => {
          const [x, w] = plan.operands as [OperandPlan, OperandPlan];
          const operands: OperandPlan[] = [{ ...x, dtype: "i32" }, w, ...(hasMean ? [w] : [])];
          return { operands, attrs: { ...plan.attrs, fractionBits } };
        }),
  },
  fixedPointAddNorm: {
    dtypes: ["f32"],
    compare: "parts",
    differentiableOutputs: [0, 1],
    plan: (options) =>
      fc
        .tuple(addNormPlan(options), fc.integer({ min: 4, max: 24 }), signs, records)
        .map(([{ operands, attrs }, fractionBits, sign, { record, row }]) => ({
          operands: [...operands.map((o, i): OperandPlan => (i === 0 ? { ...o, dtype: "i32" } : o)), ...record],
          attrs: { ...attrs, fractionBits, sign, ...row },
        })),
  },
  layerNorm: { dtypes: floats, compare: "rounded", plan: normPlan(2, 0), differentiableOutputs: [0] },
  layerNormBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: normPlan(1, 1),
    // The gradients of weight and bias are sums over rows: rounding errors grow with the root of their number.
    termSize: ([x, w, g]) => Math.max(1, w!.largest) * g!.largest * Math.sqrt(rowsOf(x!)),
    complete: (free, attrs) => {
      const [x, w, g] = first(free);
      const [, mean, inverse] = x.applyAll(ops.layerNorm, [x, w, w], attrs);
      return [x, w, mean!, inverse!, g];
    },
  },
  rmsNorm: { dtypes: floats, compare: "rounded", plan: normPlan(1, 0), differentiableOutputs: [0] },
  rmsNormBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: normPlan(1, 1),
    // 1/rms is at most 1 over the least.
    termSize: ([x, w, g]) => w!.largest * g!.largest * Math.sqrt(rowsOf(x!)) * Math.max(1, Math.min(1e3, 1 / x!.least)),
    complete: (free, attrs) => {
      const [x, w, g] = first(free);
      return [x, w, x.applyAll(ops.rmsNorm, [x, w], attrs)[1]!, g];
    },
  },
  rope: {
    dtypes: floats,
    compare: "rounded",
    plan: ({ dtype, ...sizes }) =>
      fc
        .record({
          lead: shapes({ ...sizes, allowsLong: false, maxRank: 2 }),
          time: axisSize(sizes),
          half: fc.integer({ min: 1, max: 4 }),
          base: fc.constantFrom(10000, 50),
          direction: fc.constantFrom(1 as const, -1 as const),
        })
        .map(({ lead, time, half, base, direction }) => ({
          operands: [
            { shape: [...lead, time, 2 * half], dtype },
            { shape: [time], dtype: "i32", values: (random) => random.integer(0, 60) },
          ],
          attrs: { base, direction },
        })),
  },
  attention: {
    dtypes: floats,
    compare: "rounded",
    plan: attentionPlan(false),
    differentiableOutputs: [0],
    noSpecials: skips,
  },
  attentionBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: attentionPlan(true),
    noSpecials: skips,
    termSize: ([q, k, v, g]) => g!.largest * v!.largest * Math.max(q!.largest, k!.largest, 1),
    complete: (free, attrs) => {
      const [q, k, v, g] = first(free);
      const [o, lse] = q.applyAll(ops.attention, [q, k, v], attrs);
      return [q, k, v, o!, lse!, g];
    },
  },
  headAttention: {
    dtypes: floats,
    compare: "rounded",
    plan: headAttentionPlan(false),
    differentiableOutputs: [0, 1],
    noSpecials: skips,
  },
  decodeAttention: { dtypes: floats, compare: "rounded", plan: decodeAttentionPlan, noSpecials: skips },
  headAttentionBackward: {
    dtypes: floats,
    compare: "rounded",
    plan: headAttentionPlan(true),
    noSpecials: skips,
    termSize: ([x, g]) => g!.largest * x!.largest * Math.max(x!.largest, 1),
    complete: ([x, g, ...positions], attrs) => {
      const outputs = x!.applyAll(ops.headAttention, [x!, ...positions], attrs);
      return [...outputs, g!, ...positions];
    },
  },
  fixedPointAdd: {
    dtypes: ["f32", "bf16"],
    compare: "bits",
    straightThrough: ({ sign }) => [1, sign],
    plan: ({ dtype, ...sizes }) =>
      fc.integer({ min: 0, max: 30 }).chain((bits) =>
        fc
          .tuple(shapes(sizes), fixedPointDomain(bits), signs, records)
          .map(([shape, domain, sign, { record, row }]) => ({
            operands: [{ shape, dtype: "i32" }, { shape, dtype, domain }, ...record],
            attrs: { fractionBits: bits, sign, ...row },
          })),
      ),
  },
  channelFixedPointAdd: {
    dtypes: ["i16", "i8"],
    compare: "bits",
    straightThrough: ({ sign }) => [1, sign],
    plan: (options) =>
      fc.tuple(channelPlan(options), fc.constantFrom(1 as const, -1 as const)).map(([[x, scale], sign]) => ({
        operands: [x, { shape: x.shape, dtype: "f32", domain: [-3e4, 3e4] }, scale],
        attrs: { sign },
      })),
  },
  gridAdd: {
    dtypes: ["f32"],
    compare: "bits",
    straightThrough: ({ sign }) => [1, sign],
    plan: ({ dtype, ...sizes }) =>
      fc.integer({ min: 0, max: 24 }).chain((bits) =>
        fc
          .tuple(shapes(sizes), gridDomain(bits), fc.constantFrom(1 as const, -1 as const))
          .map(([shape, domain, sign]) => ({
            operands: [
              { shape, dtype, values: (random) => Math.round(random.between(...domain) * 2 ** bits) * 2 ** -bits },
              { shape, dtype, domain },
            ],
            attrs: { fractionBits: bits, sign },
          })),
      ),
  },
};
