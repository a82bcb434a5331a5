import { type AttentionBias, biasSteps, ops, RUN_WORDS, type Tensor } from "@revnet-zero/tensor";
import fc from "fast-check";
import type { OperandPlan, Plan, PlanOptions, SamplerTable } from "../sample.ts";
import { axisSize } from "../shapes.ts";

interface Forward {
  readonly scale: number;
  readonly blockSize: number;
  readonly mostKeys: number;
  readonly bias?: AttentionBias;
}
interface Backward extends Forward {
  readonly needsBias: boolean;
}

/** No band: every query of a block sees the whole run. */
const UNBOUNDED = 2 ** 30;

/** The first run of a block is one that all its queries see; of later ones a band, or nothing. */
function run(s: number, isFirst: boolean): fc.Arbitrary<readonly number[]> {
  return fc
    .record({ from: fc.nat(s - 1), size: fc.nat(s), low: fc.integer({ min: -9, max: 9 }), width: fc.nat(9) })
    .map(({ from, size, low, width }) => {
      const to = Math.min(s, from + (isFirst ? Math.max(1, size) : size));
      return isFirst ? [from, to, -UNBOUNDED, UNBOUNDED] : [from, to, from + low, from + low + width];
    });
}

const sizes = (options: PlanOptions) => ({
  b: fc.integer({ min: 1, max: 2 }),
  heads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 2 }),
  t: axisSize({ ...options, allowsEmpty: false }),
  s: axisSize({ ...options, allowsEmpty: false }),
  d: fc.integer({ min: 1, max: 4 }),
  e: fc.integer({ min: 1, max: 4 }),
  blockSize: fc.integer({ min: 1, max: 5 }),
  slots: fc.integer({ min: 1, max: 3 }),
  scale: fc.constantFrom(1, 0.5),
  bias: fc.constantFrom(undefined, "key" as const, "relative" as const, "full" as const),
  isShared: fc.record({ list: fc.boolean(), bias: fc.boolean() }),
});

/** Operands q, k, v, list, then `rest` of the output's and log-sum-exp's shapes, then the bias. */
function plan(options: PlanOptions, hasGradient: boolean): fc.Arbitrary<Plan<Forward>> {
  const { dtype } = options;
  return fc.record(sizes(options)).chain(({ b, heads, group, t, s, d, e, blockSize, slots, scale, bias, isShared }) => {
    const [lb, lh] = isShared.list ? [1, 1] : [b, heads];
    const [bb, bh] = isShared.bias ? [1, 1] : [b, heads * group];
    const rows = lb * lh * Math.ceil(t / blockSize);
    const row = fc.tuple(...Array.from({ length: slots }, (_, i) => run(s, i === 0)));
    return fc.array(row, { minLength: rows, maxLength: rows }).map((list) => {
      const words = list.flat(2);
      const counts = list.map((runs) => runs.reduce((n, [from, to]) => n + Math.max(0, to! - from!), 0));
      const of = (...shape: number[]): OperandPlan => ({ shape, dtype });
      const runs: OperandPlan = {
        shape: [lb, lh, Math.ceil(t / blockSize), slots, RUN_WORDS],
        dtype: "i32",
        isContiguous: true,
        values: (_, i) => words[i]!,
      };
      const h = heads * group;
      const wide = dtype === "f64" ? "f64" : "f32";
      const lse: OperandPlan = { shape: [b, h, t], dtype: wide };
      return {
        operands: [
          of(b, h, t, d),
          of(b, heads, s, d),
          of(b, heads, s, e),
          runs,
          ...(hasGradient ? [of(b, h, t, e), lse] : []),
          ...(bias === undefined ? [] : [{ shape: [bb, bh, biasSteps(bias, t, s).size], dtype: wide } as const]),
        ],
        attrs: { scale, blockSize, mostKeys: Math.max(...counts), ...(bias === undefined ? {} : { bias }) },
      };
    });
  });
}

const floats = ["f32", "f64", "bf16", "f16"] as const;
const skips = "kernels skip hidden keys, which the decomposition multiplies by zero";

export const sparseAttentionSamplers: Pick<SamplerTable, "sparseAttention" | "sparseAttentionBackward"> = {
  sparseAttention: {
    dtypes: floats,
    compare: "rounded",
    noSpecials: skips,
    plan: (options) => plan(options, false),
  },
  sparseAttentionBackward: {
    dtypes: floats,
    compare: "rounded",
    noSpecials: skips,
    plan: (options): fc.Arbitrary<Plan<Backward>> =>
      fc
        .tuple(plan(options, true), fc.boolean())
        .map(([{ operands, attrs }, needsBias]) => ({ operands, attrs: { ...attrs, needsBias } })),
    // A slope is weight · (g · v - its mean): sums of up to all keys' or queries' such terms.
    termSize: ([q, k, v, , g, ofLse]) =>
      Math.max(g!.largest * v!.largest, ofLse!.largest) * Math.max(q!.largest, k!.largest, 1),
    // The output is rounded once, from float32: a backend's own 16-bit one may be a unit off, which the bias' gradient, in float32, would be held to.
    complete: (free, { needsBias: _, ...attrs }) => {
      const [q, k, v, runs, g, ofLse, ...bias] = free as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, ...Tensor[]];
      const wide = q.dtype === "f64" ? "f64" : "f32";
      const [o, lse] = q.applyAll(ops.sparseAttention, [...[q, k, v].map((t) => t.cast(wide)), runs, ...bias], attrs);
      return [q, k, v, runs, o!.cast(q.dtype), lse!, g, ofLse, ...bias];
    },
  },
};
