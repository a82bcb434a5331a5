import { checkSizes, type LayerOptions } from "@revnet-zero/nn";
import {
  defaultEngine,
  foldKey,
  fromWords,
  type Key,
  randomNormal,
  randomWord,
  type Tensor,
} from "@revnet-zero/tensor";
import { weighted } from "./linear.ts";
import { Mechanism } from "./mechanism.ts";

/**
 * Which weight the features estimate:
 * - "softmax": e^(q·k / √d), by positive features e^(ω·x - |x|²/2). Source: Choromanski et al. 2021 (arXiv:2009.14794), lemma 1.
 * - "rationalFourier": the rational quadratic (1 + |q - k|² / (2 α √d))^-α, by waves cos ω·x and sin ω·x with frequencies from its
 *   spectrum, a normal distribution of Gamma-distributed precision. Source: Rahimi and Recht 2007, algorithm 1, for the waves. An estimate
 *   may be negative.
 */
export type RandomFeatureKind = "softmax" | "rationalFourier";

export interface RandomFeatureOptions extends LayerOptions {
  readonly headDim: number;
  /** Frequencies. Default 4 · headDim. */
  readonly numFeatures?: number;
  /** Default "softmax". */
  readonly kind?: RandomFeatureKind;
  /** α of the rational quadratic, a whole number: the tails fall as |q - k|^(-2α). Default 1. */
  readonly alpha?: number;
  /** Default true. */
  readonly isCausal?: boolean;
  /** Default 64. */
  readonly chunkSize?: number;
  readonly key: Key;
}

/** Attention by random features: linear attention whose weights estimate a kernel's, the better the more frequencies. */
export class RandomFeatureAttention extends Mechanism {
  readonly kind: RandomFeatureKind;
  readonly isCausal: boolean;
  readonly chunkSize: number;
  /** `[headDim, numFeatures]`, drawn once and saved with the parameters. */
  readonly frequencies: Tensor;

  constructor(options: RandomFeatureOptions) {
    super();
    const { headDim, numFeatures = 4 * headDim, kind = "softmax", alpha = 1, key } = options;
    const { engine = defaultEngine(), dtype = "f32" } = options;
    checkSizes("RandomFeatureAttention", { headDim, numFeatures, alpha });
    this.kind = kind;
    this.isCausal = options.isCausal ?? true;
    this.chunkSize = options.chunkSize ?? 64;
    const normal = randomNormal([headDim, numFeatures], { key: foldKey(key, 0), engine, dtype });
    const scale =
      kind === "softmax"
        ? undefined
        : fromWords(precisions(numFeatures, alpha, foldKey(key, 1)), [numFeatures], "f32", engine);
    this.frequencies = this.buffer(
      engine.scope(() => (scale === undefined ? normal.clone() : normal.mul(scale.cast(dtype)))),
    );
  }

  override forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
    return q.engine.scope(() => {
      // Both sides carry the fourth root of 1/d that makes q·k / √d, and |q - k|² / √d.
      const side = q.shape[3]! ** -0.25;
      const [qs, ks] = [q, k].map((x) => x.mul(side)) as [Tensor, Tensor];
      const features = this.kind === "softmax" ? this.#positive(qs, ks) : [this.#waves(qs), this.#waves(ks)];
      const { isCausal, chunkSize } = this;
      // Waves average to estimates that may be next to 0 and below.
      const leastWeight = this.kind === "softmax" ? 1e-30 : 1e-2 * this.frequencies.shape[1]!;
      return weighted(features[0]!, features[1]!, v, { isCausal, chunkSize, leastWeight });
    });
  }

  /** e^(ω·x - |x|²/2), at most e^(|ω|²/2); of a query less its largest exponent, which the quotient does not feel. */
  #positive(q: Tensor, k: Tensor): Tensor[] {
    const exponents = (x: Tensor): Tensor =>
      x.matmul(this.frequencies).sub(x.square().sum(-1, { keepDims: true }).mul(0.5));
    const ofQuery = exponents(q);
    return [ofQuery.sub(ofQuery.detach().max(-1, { keepDims: true })).exp(), exponents(k).exp()];
  }

  #waves(x: Tensor): Tensor {
    const phases = x.matmul(this.frequencies);
    return phases.cos().concat([phases.sin()], -1);
  }
}

/** Square roots of Gamma(α, rate α) draws: sums of α exponentials over α. */
function precisions(count: number, alpha: number, key: Key): Float32Array {
  const uniform = (i: number): number => ((randomWord(key, i) >>> 8) + 0.5) / 2 ** 24;
  return Float32Array.from({ length: count }, (_, i) => {
    let sum = 0;
    for (let a = 0; a < alpha; a++) sum -= Math.log(uniform(i * alpha + a));
    return Math.sqrt(sum / alpha);
  });
}
