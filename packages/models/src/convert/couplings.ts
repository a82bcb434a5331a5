import { Module } from "@revnet-zero/nn";
import {
  additive,
  BdiaSequence,
  type Branch,
  midpoint,
  momentum,
  type ReversibleBlock,
  type ReversibleMode,
  ReversibleSequence,
} from "@revnet-zero/reversible";
import { type Tensor, ValueError } from "@revnet-zero/tensor";

export interface ConversionSettings {
  readonly mode: ReversibleMode;
  readonly fractionBits: number;
  /** Of `momentum`: how much of the velocity stays from step to step. The smaller, the nearer to the original. */
  readonly gamma: number;
}

/** From the original's stream to the original's stream, by way of a reversible sequence. */
export type ReversibleStream = Module & { forward(x: Tensor): Tensor; readonly sequence: ReversibleSequence };

/** How residual branches f_0, f_1, ... of x' = x + f_k(x) become a reversible network. */
export type ConversionCoupling = (branches: readonly Branch[], settings: ConversionSettings) => ReversibleStream;

export type ConversionCouplingName = "bdia" | "additive" | "midpoint" | "momentum";

/**
 * - `bdia`: single stream; in evaluation the original's function on a grid: each branch's sum is rounded once, by at most
 *   2^-(fractionBits + 1). In training, branches mix by random signs whose mean is that function, and one bit an element and branch
 *   is kept. Source: Zhang et al. 2024 (arXiv:2407.09093).
 * - `additive`: two streams of half the value, a += f_k(b), b += f_(k+1)(a), whose sum is x + Σ f. A norm takes the half off
 *   again, so a branch that begins with one sees the original's scale. Source: Gomez et al. 2017 (arXiv:1707.04585).
 * - `midpoint`: x[k+1] = x[k-1] + 2 f_k(x[k]); the mean of the last two is x + Σ f.
 *   Source: "Reversing Large Language Models" 2025 (arXiv:2512.02056).
 * - `momentum`: v' = γ v + (1 - γ) f_k(x), x' = x + v'; the original for γ -> 0, at log2(1 / γ) bits an element and branch.
 *   Source: Sander et al. 2021 (arXiv:2102.07870).
 *
 * All but `bdia` change the function: by how much, `measureConversion` says.
 */
export const conversionCouplings: { readonly [N in ConversionCouplingName]: ConversionCoupling } = {
  bdia: (blocks, { mode, fractionBits }) => {
    if (mode !== "exact" && mode !== "store" && mode !== "checkpoint")
      throw new ValueError("convertToReversible", `bdia has no mode "${mode}"`, "use exact, store or checkpoint");
    return new BdiaSequence({ blocks, mode, fractionBits });
  },
  additive: (branches, settings) =>
    new TwoStreams({
      ...settings,
      blocks: branches.flatMap((F, i) => (i % 2 === 0 ? [additive({ F, G: branches[i + 1]! })] : [])),
      open: (x) => [x.mul(0.5), x.mul(0.5)],
      join: ([a, b]) => a!.add(b!),
    }),
  midpoint: (branches, settings) =>
    new TwoStreams({
      ...settings,
      blocks: branches.map((f) => midpoint({ f })),
      open: (x) => [x, x],
      join: ([a, b]) => a!.add(b!).mul(0.5),
    }),
  momentum: (branches, settings) =>
    new TwoStreams({
      ...settings,
      blocks: branches.map((f) => momentum({ f, gamma: settings.gamma })),
      open: (x) => [x, x.zerosLike()],
      join: ([x]) => x!,
    }),
};

interface TwoStreamsOptions extends Omit<ConversionSettings, "gamma"> {
  readonly blocks: readonly ReversibleBlock[];
  /** The original's stream as those of the first block. */
  readonly open: (x: Tensor) => readonly [Tensor, Tensor];
  /** The streams of the last block as the original's. */
  readonly join: (streams: readonly Tensor[]) => Tensor;
}

class TwoStreams extends Module {
  readonly sequence: ReversibleSequence;
  readonly #open: TwoStreamsOptions["open"];
  readonly #join: TwoStreamsOptions["join"];

  constructor({ blocks, mode, fractionBits, open, join }: TwoStreamsOptions) {
    super();
    this.sequence = new ReversibleSequence({ blocks, mode, fractionBits });
    this.#open = open;
    this.#join = join;
  }

  override forward(x: Tensor): Tensor {
    return this.#join(this.sequence.call(...this.#open(x)));
  }
}
