import type { Module } from "@revnet-zero/nn";
import type { BlockPolicy } from "@revnet-zero/reversible";
import { ValueError } from "@revnet-zero/tensor";
import { blockName, chainsOf, type PlannedChain } from "../costModel/chains.ts";

/** A block by its name (`sequence.blocks.3`), or by its number among all blocks of the model. */
export type LayerName = string | number;

export interface LayerPin {
  readonly name: string;
  readonly policy: BlockPolicy;
}

/**
 * Policies that are not the planner's to choose: pin a layer's, and every plan has it. Without a planner, `apply()` sets them by themselves.
 *
 * ```ts
 * import { LayerScheduler, randomKey, ReversibleTransformer } from "revnet-zero";
 *
 * const shape = { vocabSize: 16, numLayers: 3, dModel: 8, numHeads: 2, maxSeqLen: 4 };
 * const model = new ReversibleTransformer({ ...shape, key: randomKey(1) });
 * const layers = new LayerScheduler(model).pin(0, "store").pin("sequence.blocks.2", "checkpoint");
 * layers.apply();
 * model.sequence.plan.blocks; // => [ 'store', 'reconstruct', 'checkpoint' ]
 * ```
 */
export class LayerScheduler {
  readonly #chains: readonly PlannedChain[];
  readonly #pins = new Map<string, BlockPolicy>();

  constructor(model: Module) {
    this.#chains = chainsOf(model);
  }

  /** Names of the blocks whose policies can be chosen, in the order of the model's parts. */
  get names(): readonly string[] {
    return this.#chains.flatMap((chain) => Array.from({ length: chain.numBlocks }, (_, b) => blockName(chain, b)));
  }

  get pins(): readonly LayerPin[] {
    return [...this.#pins].map(([name, policy]) => ({ name, policy }));
  }

  pin(layer: LayerName, policy: BlockPolicy): this {
    const name = this.#named(layer);
    const chain = this.#chains.find((c) => name.startsWith(blockName(c, 0).slice(0, -1)))!;
    const policies = [...chain.policies, ...chain.lossyPolicies];
    if (!policies.includes(policy)) {
      throw new ValueError(
        "LayerScheduler",
        `${name} cannot have the policy "${policy}"`,
        `use ${policies.join(", ")}`,
      );
    }
    this.#pins.set(name, policy);
    return this;
  }

  unpin(layer: LayerName): this {
    this.#pins.delete(this.#named(layer));
    return this;
  }

  /** The policy a layer is pinned to. */
  pinned(name: string): BlockPolicy | undefined {
    return this.#pins.get(name);
  }

  /** Gives pinned layers their policy; the others keep what they have. */
  apply(): void {
    for (const chain of this.#chains) {
      const before = chain.current as readonly BlockPolicy[] | undefined;
      const usual = chain.policies.includes("reconstruct") ? "reconstruct" : "store";
      const blocks = Array.from(
        { length: chain.numBlocks },
        (_, b): BlockPolicy => this.pinned(blockName(chain, b)) ?? before?.[b] ?? usual,
      );
      chain.follow(blocks);
    }
  }

  #named(layer: LayerName): string {
    const { names } = this;
    const name = typeof layer === "number" ? names[layer] : names.find((n) => n === layer);
    if (name !== undefined) return name;
    throw new ValueError(
      "LayerScheduler",
      `there is no layer ${layer}`,
      names.length === 0
        ? "use a model with a ReversibleSequence in a mode that rebuilds activations (exact)"
        : `use a number from 0 to ${names.length - 1}, or a name such as ${names[0]}`,
    );
  }
}
