import { Module } from "@revnet-zero/nn";
import { checkpoint, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { BlockObserver } from "./observer.ts";
import { type BlockPolicy, checkPlan, type MemoryPlan } from "./plan.ts";

/** A block of one tensor: nothing is asked of it. */
export type OrdinaryBlock = Module & { forward(x: Tensor): Tensor };

export interface BlockSequenceOptions {
  readonly blocks: readonly OrdinaryBlock[];
  /** `store` (the default) or `checkpoint` for every block. */
  readonly plan?: MemoryPlan | undefined;
}

const policies = ["store", "checkpoint"] as const satisfies readonly BlockPolicy[];

/**
 * Blocks that are not reversible, one after another, with a plan: each keeps what its derivatives read, or its input, from which it is run
 * again (Chen et al. 2016, arXiv:1604.06174). Same values and gradients, bit for bit. Randomness is drawn by a block's number.
 */
export class BlockSequence extends Module {
  readonly blocks: readonly OrdinaryBlock[];
  readonly policies: readonly BlockPolicy[] = policies;
  /** Told where the blocks of recorded passes begin. */
  observer: BlockObserver | undefined;
  #plan: MemoryPlan | undefined;

  constructor({ blocks, plan }: BlockSequenceOptions) {
    super();
    this.blocks = blocks;
    this.#plan = plan && this.#checked(plan);
  }

  get plan(): MemoryPlan | undefined {
    return this.#plan;
  }
  /** Takes effect at the next forward pass. */
  set plan(plan: MemoryPlan | undefined) {
    this.#plan = plan && this.#checked(plan);
  }

  /** `x` through all blocks; what lies between them is freed. */
  override forward(x: Tensor): Tensor {
    const { engine } = x;
    const observer = engine.recordsGradients && !engine.isReplay ? this.observer : undefined;
    let current = x;
    this.blocks.forEach((block, i) => {
      observer?.forward(i);
      const next = engine.withFoldedKey(i, () => this.#run(block, i, current));
      if (current !== x && next !== current) current.dispose();
      current = next;
    });
    observer?.forward(this.blocks.length);
    return current;
  }

  #run(block: OrdinaryBlock, i: number, x: Tensor): Tensor {
    if (this.#plan?.blocks[i] !== "checkpoint") return block.call(x);
    const again = block.captureModes();
    return checkpoint((input) => again(() => block.call(input)), x);
  }

  #checked(plan: MemoryPlan): MemoryPlan {
    const odd = checkPlan(plan, this.blocks.length, "BlockSequence").blocks.find((p) => !this.policies.includes(p));
    if (odd === undefined) return plan;
    throw new ValueError(
      "BlockSequence",
      `ordinary blocks cannot have the policy "${odd}"`,
      `use ${policies.join(" or ")}`,
    );
  }
}
