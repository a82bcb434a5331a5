import {
  type AttentionBias,
  biasSteps,
  Engine,
  fromWords,
  ops,
  RUN_WORDS,
  randomKey,
  randomNormal,
  type Tensor,
} from "@revnet-zero/tensor";
import type { CudaBackend } from "../backend.ts";

export interface SparseCase {
  readonly heads: number;
  readonly keyHeads: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
  readonly blockSize: number;
  /** One run a block up to the diagonal, or `runs` of random places and bands for every batch and key head. */
  readonly list: "causal" | { readonly runs: number };
  readonly bias?: { readonly kind: AttentionBias; readonly isShared: boolean };
}

/** Blocks of all sizes, shared heads, keys whose queries are cut into parts, ends within tiles, every bias. */
export const sparseCases: readonly SparseCase[] = [
  { heads: 2, keyHeads: 1, t: 150, s: 150, d: 64, e: 64, blockSize: 128, list: "causal" },
  {
    ...{ heads: 2, keyHeads: 1, t: 90, s: 100, d: 64, e: 64, blockSize: 16, list: { runs: 4 } },
    bias: { kind: "key", isShared: true },
  },
  {
    ...{ heads: 4, keyHeads: 2, t: 70, s: 80, d: 24, e: 40, blockSize: 8, list: { runs: 3 } },
    bias: { kind: "key", isShared: false },
  },
  {
    ...{ heads: 4, keyHeads: 2, t: 40, s: 70, d: 16, e: 33, blockSize: 5, list: { runs: 3 } },
    bias: { kind: "relative", isShared: false },
  },
  {
    ...{ heads: 2, keyHeads: 1, t: 40, s: 70, d: 128, e: 100, blockSize: 1, list: { runs: 2 } },
    bias: { kind: "full", isShared: false },
  },
];

/** The same, long: for a device. */
export const longSparseCases: readonly SparseCase[] = sparseCases.map((one) => ({
  ...one,
  t: 9 * one.t,
  s: 11 * one.t,
}));

interface List {
  readonly words: Int32Array;
  readonly shape: readonly number[];
  readonly mostKeys: number;
  /** Logs of how often each query of each head sees each key: [b · hk, t, s]. */
  readonly logs: Float32Array;
}

const EDGE = 2 ** 30;

function listOf({ keyHeads, t, s, blockSize, list }: SparseCase, batch: number): List {
  const blocks = Math.ceil(t / blockSize);
  const [lb, lh, slots] = list === "causal" ? [1, 1, 1] : [batch, keyHeads, list.runs];
  let state = 1;
  const below = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % Math.max(1, n);
  };
  const drawn = (slot: number): number[] => {
    const first = below(s);
    const low = slot % 2 === 0 ? -EDGE : first + below(20) - 10;
    return [first, Math.min(s, first + below(s)), low, slot % 2 === 0 ? EDGE : low + below(150)];
  };
  const rows = Array.from({ length: lb * lh * blocks }, (_, row) =>
    Array.from({ length: slots }, (_, slot) =>
      list === "causal" ? [0, s, -EDGE, (row % blocks) * blockSize + 1 + s - t] : drawn(slot),
    ),
  );
  const logs = new Float32Array(batch * keyHeads * t * s);
  for (let n = 0; n < batch * keyHeads * t; n++) {
    const [i, head] = [n % t, Math.floor(n / t)];
    const of = (lb === 1 ? 0 : head) * blocks + Math.floor(i / blockSize);
    const r = i % blockSize;
    for (const [first, end, low, high] of rows[of]! as [number, number, number, number][])
      for (let c = Math.max(first, low + r); c < Math.min(end, high + r); c++) logs[n * s + c]!++;
  }
  const sizes = rows.map((runs) => runs.reduce((sum, [first, end]) => sum + Math.max(0, end! - first!), 0));
  return {
    words: Int32Array.from(rows.flat(2)),
    shape: [lb, lh, blocks, slots, RUN_WORDS],
    mostKeys: Math.max(1, ...sizes),
    logs: logs.map(Math.log),
  };
}

const spread = (x: Tensor, group: number): Tensor => {
  const [b, h, t, n] = x.shape as readonly number[] as [number, number, number, number];
  return x
    .unsqueeze(2)
    .expand([b, h, group, t, n])
    .reshape([b, h * group, t, n]);
};

/** A bias as [1 | b, 1 | h, t, s]. */
function biasOfPairs(bias: Tensor, kind: AttentionBias, t: number, s: number): Tensor {
  const { query, first } = biasSteps(kind, t, s);
  const places = Int32Array.from({ length: t * s }, (_, n) => first + query * Math.floor(n / s) + (n % s));
  return bias.take(fromWords(places, [t, s], "i32", bias.engine), 2);
}

/** What the list means, from whole matrices of scores. */
function dense([q, k, v, bias]: readonly Tensor[], logs: Tensor, kind: AttentionBias | undefined): Tensor[] {
  const [t, s, group] = [q!.shape[2]!, k!.shape[2]!, q!.shape[1]! / k!.shape[1]!];
  const products = q!.matmul(spread(k!, group).transpose()).mul(q!.shape[3]! ** -0.5);
  const added = kind === undefined ? products : products.add(biasOfPairs(bias!, kind, t, s));
  const scores = added.add(spread(logs, group));
  const top = scores.detach().max(-1, { keepDims: true });
  const isNothing = top.equal(Number.NEGATIVE_INFINITY);
  const shift = isNothing.where(0, top);
  const weights = scores.sub(shift).exp();
  const total = isNothing.where(1, weights.sum(-1, { keepDims: true }));
  return [weights.div(total).matmul(spread(v!, group)), isNothing.where(0, total.log().add(shift)).squeeze(-1)];
}

export interface SparseReport {
  /** The largest difference of every result from the dense one, relative to its largest value. */
  readonly apart: readonly number[];
  /** Whether a second run has the same bits. */
  readonly isSame: boolean;
}

/**
 * Output, log-sum-exp and gradients by q, k, v and the bias: the list's kernels against matrices in float32 on the `oracle`, from the same bfloat16
 * numbers.
 */
export function sparseAgainstDense(
  backend: CudaBackend,
  oracle: Engine,
  one: SparseCase,
  dtype: "bf16" | "f16" | "f32",
): SparseReport {
  const { heads, keyHeads, t, s, d, e, blockSize, bias } = one;
  const batch = 2;
  const list = listOf(one, batch);
  const size = bias === undefined ? 0 : biasSteps(bias.kind, t, s).size;
  const shapes = [
    [batch, heads, t, d],
    [batch, keyHeads, s, d],
    [batch, keyHeads, s, e],
    ...(bias === undefined ? [] : [bias.isShared ? [1, 1, size] : [batch, heads, size]]),
  ];
  const run = (
    engine: Engine,
    by: typeof dtype,
    attend: (operands: readonly Tensor[]) => readonly Tensor[],
  ): Float32Array[] =>
    engine.scope(() => {
      const draw = (shape: readonly number[], seed: number, as: typeof dtype): Tensor => {
        const drawn = randomNormal(shape, { key: randomKey(seed), engine: oracle });
        const values = drawn.cast("bf16").cast("f32").dataSync() as Float32Array;
        drawn.dispose();
        return fromWords(values, shape, "f32", engine).cast(as);
      };
      const leaves = shapes.map((shape, i) =>
        draw(shape, i, i === 3 ? "f32" : by)
          .detach()
          .requireGrad(),
      );
      const [o, lse] = attend(leaves) as [Tensor, Tensor];
      const finite = lse.equal(Number.NEGATIVE_INFINITY).where(0, lse);
      const [ofOutput, ofLse] = [draw(o.shape, 10, by), draw(lse.shape, 11, "f32")];
      o.mul(ofOutput).cast("f32").sum().add(finite.mul(ofLse).sum()).backward();
      return [o, finite, ...leaves.map((x) => x.grad!)].map((x) =>
        Float32Array.from(x.detach().cast("f32").dataSync()),
      );
    });
  const attrs = { scale: d ** -0.5, blockSize, mostKeys: list.mostKeys, ...(bias && { bias: bias.kind }) };
  const sparse = ([q, k, v, ...rest]: readonly Tensor[]): readonly Tensor[] =>
    q!.applyAll(ops.sparseAttention, [q!, k!, v!, fromWords(list.words, list.shape, "i32", q!.engine), ...rest], attrs);
  const engine = new Engine(backend);
  const [found, again] = [run(engine, dtype, sparse), run(engine, dtype, sparse)];
  const expected = run(oracle, "f32", (operands) => {
    const logs = fromWords(list.logs, [batch, keyHeads, t, s], "f32", oracle);
    return dense(operands, logs, bias?.kind);
  });
  return {
    apart: expected.map((values, i) => {
      const largest = values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      return values.reduce((m, v, j) => Math.max(m, Math.abs(v - found[i]![j]!)), 0) / largest;
    }),
    isSame: found.every((values, i) => values.every((v, j) => Object.is(v, again[i]![j]))),
  };
}
