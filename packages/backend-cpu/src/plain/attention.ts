import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { type Floats, floatsIn, floatsOut } from "./floats.ts";

type Kernels = Required<Pick<FusedKernels<TypedArray>, "attention" | "attentionBackward">>;
type Attrs = Parameters<Kernels["attention"]["run"]>[2];

/** The keys [from, to) that query i of t sees among s keys. */
function visible(i: number, t: number, s: number, { isCausal, window }: Attrs): readonly [number, number] {
  if (!isCausal) return [0, s];
  const to = Math.max(0, Math.min(s, i + s - t + 1));
  return [window === undefined ? 0 : Math.max(0, to - window), to];
}

function dot(a: Floats, aStart: number, b: Floats, bStart: number, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += a[aStart + i]! * b[bStart + i]!;
  return sum;
}

interface Sizes {
  readonly heads: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
}

/** Calls `f` for every query row with the rows' and heads' starts. Rows are independent in forward. */
function eachQuery(
  q: readonly number[],
  k: readonly number[],
  v: readonly number[],
  f: (row: number, i: number, kv: number, sizes: Sizes) => void,
): void {
  const [batch, h, t, d] = q as [number, number, number, number];
  const [, hk, s] = k as [number, number, number];
  const sizes = { heads: h, t, s, d, e: v[3]! };
  for (let n = 0; n < batch; n++)
    for (let head = 0; head < h; head++) {
      const kv = n * hk + Math.floor(head / (h / hk));
      for (let i = 0; i < t; i++) f((n * h + head) * t + i, i, kv, sizes);
    }
}

/** One query row at a time; the scores of a row are the only workspace. Float64 inside. */
export const attentionKernels: Kernels = {
  attention: {
    inputs: "contiguous",
    run: ([q, k, v], [o, lse], attrs) => {
      const [Q, K, V] = [floatsIn(q!), floatsIn(k!), floatsIn(v!)];
      const p = new Float64Array(k!.shape[2]!);
      const sums = new Float64Array(v!.shape[3]!);
      floatsOut(o!, (out) =>
        floatsOut(lse!, (lses) =>
          eachQuery(q!.shape, k!.shape, v!.shape, (row, i, kv, { t, s, d, e }) => {
            const [from, to] = visible(i, t, s, attrs);
            let top = Number.NEGATIVE_INFINITY;
            for (let j = from; j < to; j++) {
              p[j] = dot(Q, row * d, K, (kv * s + j) * d, d) * attrs.scale;
              top = Math.max(top, p[j]!);
            }
            let total = 0;
            sums.fill(0);
            for (let j = from; j < to; j++) {
              const w = Math.exp(p[j]! - top);
              total += w;
              const at = (kv * s + j) * e;
              for (let c = 0; c < e; c++) sums[c]! += w * V[at + c]!;
            }
            for (let c = 0; c < e; c++) out[row * e + c] = sums[c]! / total;
            lses[row] = Math.log(total) + top;
          }),
        ),
      );
    },
  },
  attentionBackward: {
    inputs: "contiguous",
    run: ([q, k, v, o, lse, g], [dq, dk, dv], attrs) => {
      const [Q, K, V] = [floatsIn(q!), floatsIn(k!), floatsIn(v!)];
      const [O, L, G] = [floatsIn(o!), floatsIn(lse!), floatsIn(g!)];
      const keySums = new Float64Array(K.length);
      const valueSums = new Float64Array(V.length);
      const sums = new Float64Array(q!.shape[3]!);
      floatsOut(dq!, (out) =>
        eachQuery(q!.shape, k!.shape, v!.shape, (row, i, kv, { t, s, d, e }) => {
          const [from, to] = visible(i, t, s, attrs);
          const delta = dot(G, row * e, O, row * e, e);
          sums.fill(0);
          for (let j = from; j < to; j++) {
            const [keyAt, valueAt] = [(kv * s + j) * d, (kv * s + j) * e];
            const w = Math.exp(dot(Q, row * d, K, keyAt, d) * attrs.scale - L[row]!);
            const ds = w * (dot(G, row * e, V, valueAt, e) - delta) * attrs.scale;
            for (let c = 0; c < e; c++) valueSums[valueAt + c]! += w * G[row * e + c]!;
            for (let c = 0; c < d; c++) {
              keySums[keyAt + c]! += ds * Q[row * d + c]!;
              sums[c]! += ds * K[keyAt + c]!;
            }
          }
          out.set(sums, row * d);
        }),
      );
      floatsOut(dk!, (out) => out.set(keySums));
      floatsOut(dv!, (out) => out.set(valueSums));
    },
  },
};
