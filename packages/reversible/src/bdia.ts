import { Module } from "@revnet-zero/nn";
import { type Engine, type Tensor, ValueError } from "@revnet-zero/tensor";
import { type CoupledBlock, permute } from "./block.ts";
import { type Branch, runBranch } from "./branch.ts";
import type { ReversibleMode } from "./modes.ts";
import { ReversibleSequence } from "./sequence.ts";
import { add } from "./steps/add.ts";
import { bdiaStep } from "./steps/bdia.ts";

/** A block that shows its branch, so that its parameters are the sequence's. */
const blockOf = (h: Branch, ...program: CoupledBlock["program"]): CoupledBlock & { readonly h: Branch } => ({
  h,
  coupling: "bdia",
  streams: 2,
  program,
});

export interface BdiaSequenceOptions {
  /** h of every residual block x + h(x), in order: those of a pretrained network, as they are. */
  readonly blocks: readonly Branch[];
  /** `exact` rebuilds activations, `store` and `checkpoint` keep them; the function is one. Default `exact`. */
  readonly mode?: Extract<ReversibleMode, "exact" | "store" | "checkpoint">;
  /** Bits after the point of the stream's grid. Default 20. */
  readonly fractionBits?: number | undefined;
  readonly engine?: Engine;
}

/**
 * Exact reversible training of an ordinary single-stream residual network, and inference that is the network itself. In training,
 * each block mixes in what was there two blocks ago:
 * x[k+1] = γ (x[k-1] + s[k-1]) + Q[(1 - γ) x[k] + (1 + γ) h(x[k])], γ = ±1/2 by sample and block. One bit an element and block
 * is kept. The mean of γ is 0, and with γ = 0 (in evaluation) it is x[k+1] = Q[x[k] + h(x[k])]: the pretrained network, on a grid.
 * Source: Zhang et al. 2024 (arXiv:2407.09093), "Bidirectional Integration Approximation". We differ: 20 bits after the point.
 */
export class BdiaSequence extends Module {
  readonly blocks: readonly Branch[];
  /** The blocks on the streams (x[k-1], x[k]). */
  readonly sequence: ReversibleSequence;

  constructor({ blocks, mode = "exact", fractionBits = 20, ...rest }: BdiaSequenceOptions) {
    super();
    const [first, ...others] = blocks;
    if (first === undefined) throw new ValueError("BdiaSequence", "there are no blocks", "pass at least one branch");
    this.blocks = blocks;
    this.sequence = new ReversibleSequence({
      ...rest,
      mode,
      fractionBits,
      blocks: [
        blockOf(first, add({ target: 1, sources: [0], branch: first, name: "h" })),
        ...others.map((h) => blockOf(h, bdiaStep({ target: 0, source: 1, branch: h }), permute(1, 0))),
      ],
    });
  }

  /** The stream [batch, ...] (and the context of the branches). In training it needs the engine's keys: `engine.withKey`. */
  override forward(x: Tensor, ...context: unknown[]): Tensor {
    if (this.training) {
      const [before, last] = this.sequence.call(x, x, ...context) as [Tensor, Tensor];
      before.dispose();
      return last;
    }
    const { fractionBits } = this.sequence;
    const onGrid = (y: Tensor): Tensor => y.cast("f32").quantise(fractionBits).dequantise(fractionBits);
    return this.blocks.reduce<Tensor>(
      (y, h) => x.engine.scope(() => onGrid(y.add(runBranch(h, y, ...context)))),
      onGrid(x),
    );
  }
}
