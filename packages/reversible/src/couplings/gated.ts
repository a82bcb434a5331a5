import { Module } from "@revnet-zero/nn";
import { describe, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { CoupledBlock } from "../block.ts";
import { type Branch, runBranch } from "../branch.ts";
import { additive } from "./additive.ts";

export interface MixtureOptions {
  /** The networks that are mixed, of increments `[..., dim]`. */
  readonly experts: readonly Branch[];
  /** Logits `[..., experts]` of the mixing weights. */
  readonly gate: Branch;
  /** A factor on the mixture. Default 1. */
  readonly scale?: number;
}

/**
 * Σ softmax(gate(x))_k · expert_k(x) times a scale, everything from the same, untouched stream: a branch like any other,
 * so that the coupling stays exact whatever the gates say.
 * Source: the mixture of Jacobs et al. 1991 as a coupling's branch.
 */
export class GatedMixture extends Module {
  readonly experts: readonly Branch[];
  readonly gate: Branch;
  readonly scale: number;

  constructor({ experts, gate, scale = 1 }: MixtureOptions) {
    super();
    if (experts.length === 0) throw new ValueError("GatedMixture", "there are no experts", "pass at least one branch");
    this.experts = experts;
    this.gate = gate;
    this.scale = scale;
  }

  override forward(x: Tensor, ...rest: unknown[]): Tensor {
    const logits = runBranch(this.gate, x, ...rest);
    if (logits.shape.at(-1) !== this.experts.length || logits.rank !== x.rank) {
      throw new ShapeError(
        "GatedMixture",
        `the gate returned ${describe(logits)} for ${describe(x)} and ${this.experts.length} experts`,
        "return one logit an expert in the last axis, the other axes as they are",
      );
    }
    const gates = logits.softmax(-1);
    const terms = this.experts.map((expert, k) => runBranch(expert, x, ...rest).mul(gates.narrow(-1, k, 1)));
    const mixture = terms.reduce((sum, term) => sum.add(term));
    return this.scale === 1 ? mixture : mixture.mul(this.scale);
  }
}

/** An additive coupling whose branches are gated mixtures. */
export function gated({ F, G }: { readonly F: MixtureOptions; readonly G: MixtureOptions }): CoupledBlock & {
  readonly F: GatedMixture;
  readonly G: GatedMixture;
} {
  const branches = { F: new GatedMixture(F), G: new GatedMixture(G) };
  return { ...additive(branches), ...branches, coupling: "gated" };
}
