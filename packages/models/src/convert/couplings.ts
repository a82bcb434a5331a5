import { additive, type Branch, midpoint, momentum, type ReversibleBlock } from "@revnet-zero/reversible";
import type { Tensor } from "@revnet-zero/tensor";

export interface ConversionParameters {
  /** Of `momentum`: how much of the velocity stays from step to step. The smaller, the nearer to the original. */
  readonly gamma: number;
}

/** How residual branches f_0, f_1, ... of x' = x + f_k(x) become reversible blocks. */
export interface ConversionCoupling {
  /** From the two branches of every layer. */
  readonly blocks: (
    layers: readonly (readonly [Branch, Branch])[],
    parameters: ConversionParameters,
  ) => ReversibleBlock[];
  /** The original's stream as the streams of the first block. */
  readonly open: (x: Tensor) => readonly Tensor[];
  /** The streams of the last block as the original's. */
  readonly join: (streams: readonly Tensor[]) => Tensor;
}

export type ConversionCouplingName = "additive" | "midpoint" | "momentum";

/**
 * - `additive`: two streams of half the value, a += f_k(b), b += f_(k+1)(a), whose sum is x + Σ f. A norm takes the half off
 *   again, so a branch that begins with one sees the original's scale. Source: Gomez et al. 2017 (arXiv:1707.04585).
 * - `midpoint`: x[k+1] = x[k-1] + 2 f_k(x[k]); the mean of the last two is x + Σ f.
 *   Source: "Reversing Large Language Models" 2025 (arXiv:2512.02056).
 * - `momentum`: v' = γ v + (1 - γ) f_k(x), x' = x + v'; the original for γ -> 0. Source: Sander et al. 2021 (arXiv:2102.07870).
 */
export const conversionCouplings: { readonly [N in ConversionCouplingName]: ConversionCoupling } = {
  additive: {
    blocks: (layers) => layers.map(([F, G]) => additive({ F, G })),
    open: (x) => [x.mul(0.5), x.mul(0.5)],
    join: ([a, b]) => a!.add(b!),
  },
  midpoint: {
    blocks: (layers) => layers.flatMap((branches) => branches.map((f) => midpoint({ f }))),
    open: (x) => [x, x],
    join: ([a, b]) => a!.add(b!).mul(0.5),
  },
  momentum: {
    blocks: (layers, { gamma }) => layers.flatMap((branches) => branches.map((f) => momentum({ f, gamma }))),
    open: (x) => [x, x.zerosLike()],
    join: ([x]) => x!,
  },
};
