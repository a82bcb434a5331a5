import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { Mechanism } from "./mechanism.ts";

/** Positive features of queries and keys `[..., d]` -> `[..., features]`. */
export type FeatureMap = (x: Tensor) => Tensor;

/** elu(x) + 1: x + 1 above 0, e^x below. Source: Katharopoulos et al. 2020 (arXiv:2006.16236), eq. 7. */
export const eluFeatures: FeatureMap = (x) => x.engine.scope(() => x.relu().add(x.minimum(0).exp()));

export interface LinearAttentionOptions {
  /** Default true. */
  readonly isCausal?: boolean;
  /** Default elu(x) + 1. */
  readonly features?: FeatureMap;
  /** Tokens whose pairs are written out at a time in the causal form. Default 64. */
  readonly chunkSize?: number;
}

/**
 * Σ φ(q)·φ(k) v / Σ φ(q)·φ(k): no softmax, so that what is summed over keys is one matrix, and time is linear in the sequence. The causal form
 * goes in chunks: sums of all chunks before, and the pairs within.
 * Source: Katharopoulos et al. 2020 (arXiv:2006.16236), eq. 4 to 6 and 12; in chunks: Hua et al. 2022 (arXiv:2202.10447), section 3.2.
 */
export class LinearAttention extends Mechanism {
  readonly isCausal: boolean;
  readonly chunkSize: number;
  readonly #features: FeatureMap;

  constructor({ isCausal = true, features = eluFeatures, chunkSize = 64 }: LinearAttentionOptions = {}) {
    super();
    if (!Number.isInteger(chunkSize) || chunkSize < 1)
      throw new ValueError("LinearAttention", `chunkSize is ${chunkSize}`, "use a positive number of tokens");
    this.isCausal = isCausal;
    this.chunkSize = chunkSize;
    this.#features = features;
  }

  override forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
    return weighted(this.#features(q), this.#features(k), v, this);
  }
}

export interface WeightedOptions {
  readonly isCausal: boolean;
  readonly chunkSize: number;
  /** What a sum of weights is at least: above it features are positive, or an estimate's noise is smaller. Default 1e-30. */
  readonly leastWeight?: number;
}

/** Values weighted by products of features: q `[b, h, t, f]`, k `[b, hk, t, f]`, v `[b, hk, t, e]` -> `[b, h, t, e]`. */
export function weighted(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { isCausal, chunkSize, leastWeight = 1e-30 }: WeightedOptions,
): Tensor {
  const [b, h, t, f] = q.shape as readonly number[] as [number, number, number, number];
  const [hk, e] = [k.shape[1]!, v.shape[3]!];
  // Sums of weights ride along as one more value, 1.
  const values = v.concat([v.narrow(3, 0, 1).onesLike()], 3);
  const sums = isCausal
    ? causalSums(q.reshape([b, hk, h / hk, t, f]), k, values, Math.min(chunkSize, t))
    : q.reshape([b, hk, h / hk, t, f]).matmul(k.transpose().matmul(values).unsqueeze(2));
  const [total, weight] = sums.split([e, 1], 4) as [Tensor, Tensor];
  return total.div(weight.less(leastWeight).where(leastWeight, weight)).reshape([b, h, t, e]);
}

/** Σ over keys up to the query's own: [b, hk, g, t, f] by [b, hk, t, f] and [b, hk, t, n] -> [b, hk, g, t, n]. */
function causalSums(q: Tensor, k: Tensor, values: Tensor, chunk: number): Tensor {
  const [b, hk, g, t, f] = q.shape as readonly number[] as [number, number, number, number, number];
  const chunks = Math.ceil(t / chunk);
  const missing = chunks * chunk - t;
  const whole = (x: Tensor): Tensor =>
    missing === 0 ? x : x.pad(x.shape.map((_, axis) => (axis === x.rank - 2 ? [0, missing] : [0, 0])));
  const n = values.shape[3]!;
  const qs = whole(q).reshape([b, hk, g, chunks, chunk, f]);
  const ks = whole(k).reshape([b, hk, 1, chunks, chunk, f]);
  const vs = whole(values).reshape([b, hk, 1, chunks, chunk, n]);
  const own = ks.transpose().matmul(vs); // [b, hk, 1, chunks, f, n]
  // Of the chunks before: not a difference, in which the chunk's own later tokens would be felt by rounding.
  const none = own.narrow(3, 0, 1).zerosLike();
  const before = chunks === 1 ? none : none.concat([own.narrow(3, 0, chunks - 1).cumsum(3)], 3);
  const place = q.rangeOf(chunk, "i32");
  const isPast = place.unsqueeze(1).greaterEqual(place);
  const pairs = isPast.where(qs.matmul(ks.transpose()), 0);
  const sums = qs.matmul(before).add(pairs.matmul(vs));
  return sums.reshape([b, hk, g, chunks * chunk, n]).narrow(3, 0, t);
}
