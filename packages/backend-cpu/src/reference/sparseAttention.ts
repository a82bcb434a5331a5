import { biasSteps, type FusedKernels, numel, RUN_WORDS, type TypedArray } from "@revnet-zero/tensor";
import { type CpuView, dense, store } from "../buffer.ts";

type Kernels = Required<Pick<FusedKernels<TypedArray>, "sparseAttention" | "sparseAttentionBackward">>;
type Attrs = Parameters<Kernels["sparseAttention"]["run"]>[2];

/** One query and one key that it sees, as places of their rows in the dense arrays. */
interface Pair {
  readonly query: number;
  readonly key: number;
  /** The place of the pair's bias among those of all heads, and among those that are stored. */
  readonly bias: number;
  readonly storedBias: number;
}

/** Every query's pairs, run after run: what the list means, written out. */
function* queries(
  [q, k, , runs]: readonly CpuView[],
  bias: CpuView | undefined,
  attrs: Attrs,
): Generator<{ readonly query: number; readonly pairs: readonly Pair[] }> {
  const [b, h, t] = q!.shape as [number, number, number];
  const [, hk, s] = k!.shape as [number, number, number];
  const [lb, lh, blocks, slots] = runs!.shape as [number, number, number, number];
  const words = dense(runs!);
  const steps = attrs.bias === undefined ? undefined : biasSteps(attrs.bias, t, s);
  const [bb, bh] = bias?.shape ?? [1, 1];
  for (let n = 0; n < b; n++)
    for (let head = 0; head < h; head++)
      for (let i = 0; i < t; i++) {
        const keyHead = Math.floor(head / (h / hk));
        const row = Math.floor(i / attrs.blockSize);
        const r = i % attrs.blockSize;
        const list = (((lb === 1 ? 0 : n) * lh + (lh === 1 ? 0 : keyHead)) * blocks + row) * slots;
        const pairs: Pair[] = [];
        for (let slot = list; slot < list + slots; slot++) {
          const [first, end, low, high] = words.subarray(
            slot * RUN_WORDS,
            (slot + 1) * RUN_WORDS,
          ) as unknown as number[];
          for (let c = Math.max(0, first!, low! + r); c < Math.min(s, end!, high! + r); c++) {
            const place = steps === undefined ? 0 : steps.first + i * steps.query + c * steps.key;
            const size = steps?.size ?? 0;
            pairs.push({
              query: (n * h + head) * t + i,
              key: (n * hk + keyHead) * s + c,
              bias: (n * h + head) * size + place,
              storedBias: ((bb === 1 ? 0 : n) * bh! + (bh === 1 ? 0 : head)) * size + place,
            });
          }
        }
        yield { query: (n * h + head) * t + i, pairs };
      }
}

/** Σ a[i · width + c] · b[j · width + c]. */
function product(a: Float64Array, i: number, b: Float64Array, j: number, width: number): number {
  let sum = 0;
  for (let c = 0; c < width; c++) sum += a[i * width + c]! * b[j * width + c]!;
  return sum;
}
/** a[i · width + c] += factor · b[j · width + c] */
function addScaled(a: Float64Array, i: number, factor: number, b: Float64Array, j: number, width: number): void {
  for (let c = 0; c < width; c++) a[i * width + c]! += factor * b[j * width + c]!;
}

/** Query by query in float64, as the definition says: the oracle of every other way to compute it. */
export const sparseAttentionKernels: Kernels = {
  sparseAttention: {
    run: (inputs, [o, lse], attrs) => {
      const [q, k, v, , bias] = inputs;
      const [Q, K, V] = [q!, k!, v!].map(dense) as [Float64Array, Float64Array, Float64Array];
      const added = bias === undefined ? undefined : dense(bias);
      const [d, e] = [q!.shape[3]!, v!.shape[3]!];
      const [out, lses] = [new Float64Array(numel(o!.shape)), new Float64Array(numel(lse!.shape))];
      for (const { query, pairs } of queries(inputs, bias, attrs)) {
        const scores = pairs.map((p) => product(Q, query, K, p.key, d) * attrs.scale + (added?.[p.storedBias] ?? 0));
        const top = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
        lses[query] = top;
        if (top === Number.NEGATIVE_INFINITY) continue;
        const total = scores.reduce((sum, x) => sum + Math.exp(x - top), 0);
        lses[query] = Math.log(total) + top;
        for (const [i, p] of pairs.entries()) addScaled(out, query, Math.exp(scores[i]! - top) / total, V, p.key, e);
      }
      store(o!, out);
      store(lse!, lses);
    },
  },
  sparseAttentionBackward: {
    run: (inputs, outputs, attrs) => {
      const [q, , v, , , , , , bias] = inputs;
      const [Q, K, V, , O, L, G, ofLse] = inputs.map(dense) as Float64Array[];
      const added = bias === undefined ? undefined : dense(bias);
      const [d, e] = [q!.shape[3]!, v!.shape[3]!];
      const [dq, dk, dv, db] = outputs.map((x) => new Float64Array(numel(x.shape))) as Float64Array[];
      for (const { query, pairs } of queries(inputs, bias, attrs)) {
        if (L![query] === Number.NEGATIVE_INFINITY) continue;
        const mean = product(G!, query, O!, query, e) - ofLse![query]!;
        for (const p of pairs) {
          const score = product(Q!, query, K!, p.key, d) * attrs.scale + (added?.[p.storedBias] ?? 0);
          const weight = Math.exp(score - L![query]!);
          const slope = weight * (product(G!, query, V!, p.key, e) - mean);
          addScaled(dq!, query, slope * attrs.scale, K!, p.key, d);
          addScaled(dk!, p.key, slope * attrs.scale, Q!, query, d);
          addScaled(dv!, p.key, weight, G!, query, e);
          if (db!.length > 0) db![p.bias]! += slope;
        }
      }
      for (const [i, values] of [dq, dk, dv, db].entries()) store(outputs[i]!, values!);
    },
  },
};
