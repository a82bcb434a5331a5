import { Module } from "@revnet-zero/nn";
import { checkpoint, type Tensor, ValueError } from "@revnet-zero/tensor";
import { checkNestedPlan, type NestedPlan, numBlocksOf } from "./nestedPlan.ts";
import type { BlockObserver } from "./observer.ts";
import { type BlockPolicy, checkPlan, type MemoryPlan } from "./plan.ts";

/** A block of one tensor: nothing is asked of it. */
export type OrdinaryBlock = Module & { forward(x: Tensor): Tensor };

export interface BlockSequenceOptions {
  readonly blocks: readonly OrdinaryBlock[];
  /** `store` (the default) or `checkpoint` for every block. */
  readonly plan?: MemoryPlan | undefined;
  /** Instead of a plan: segments of blocks that are run again together, nested in each other where one wants it. */
  readonly segments?: NestedPlan | undefined;
}

const policies = ["store", "checkpoint"] as const satisfies readonly BlockPolicy[];

/**
 * Blocks that are not reversible, one after another, with a plan: each keeps what its derivatives read, or its input, from which it is run
 * again (Chen et al. 2016, arXiv:1604.06174). `segments` are of several blocks, and may hold segments: `[["store", "store"], "store"]` runs the
 * first two blocks again together. Same values and gradients, bit for bit. Randomness is drawn by a block's number.
 */
export class BlockSequence extends Module {
  readonly blocks: readonly OrdinaryBlock[];
  readonly policies: readonly BlockPolicy[] = policies;
  /** Told where the blocks of recorded passes begin. */
  observer: BlockObserver | undefined;
  #plan: MemoryPlan | undefined;
  #segments: NestedPlan | undefined;

  constructor({ blocks, plan, segments }: BlockSequenceOptions) {
    super();
    this.blocks = blocks;
    this.plan = plan;
    if (segments !== undefined) this.segments = segments;
  }

  get plan(): MemoryPlan | undefined {
    return this.#plan;
  }
  /** Takes effect at the next forward pass, in the place of segments. */
  set plan(plan: MemoryPlan | undefined) {
    this.#plan = plan && this.#checked(plan);
    this.#segments = undefined;
  }

  get segments(): NestedPlan | undefined {
    return this.#segments;
  }
  /** Takes effect at the next forward pass, in the place of a plan. */
  set segments(segments: NestedPlan | undefined) {
    this.#segments = segments && checkNestedPlan(segments, this.blocks.length, "BlockSequence");
    this.#plan = undefined;
  }

  /** `x` through all blocks; what lies between them is freed. */
  override forward(x: Tensor): Tensor {
    const { engine } = x;
    const observer = engine.recordsGradients && !engine.isReplay ? this.observer : undefined;
    const y = this.#run(this.#entries(), 0, x, observer);
    observer?.forward(this.blocks.length);
    return y;
  }

  #entries(): NestedPlan {
    return this.#segments ?? this.blocks.map((_, i) => (this.#plan?.blocks[i] === "checkpoint" ? ["store"] : "store"));
  }

  /** Entries of a plan, the first of them for the block with this number. */
  #run(entries: NestedPlan, first: number, x: Tensor, observer: BlockObserver | undefined): Tensor {
    let [current, i] = [x, first];
    for (const entry of entries) {
      const next = entry === "store" ? this.#call(i, current, observer) : this.#runAgain(entry, i, current, observer);
      if (current !== x && next !== current) current.dispose();
      current = next;
      i += entry === "store" ? 1 : numBlocksOf(entry);
    }
    return current;
  }

  #call(i: number, x: Tensor, observer: BlockObserver | undefined): Tensor {
    const { engine } = x;
    if (!engine.isReplay) observer?.forward(i);
    return engine.withFoldedKey(i, () => this.blocks[i]!.call(x));
  }

  #runAgain(entries: NestedPlan, first: number, x: Tensor, observer: BlockObserver | undefined): Tensor {
    const again = this.captureModes();
    return checkpoint((input) => again(() => this.#run(entries, first, input, observer)), x);
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
