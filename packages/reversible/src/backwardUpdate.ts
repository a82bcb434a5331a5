import { AutogradError, describe, type Engine, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { PlacedBlock } from "./block.ts";
import type { ReversibleSequence } from "./sequence.ts";

/** What is asked of an optimizer: those of `@revnet-zero/optim` have it. */
export interface PartialOptimizer {
  readonly parameters: readonly Tensor[];
  /** Updates these parameters from their gradients, ahead of the others of its step. */
  updateNow(parameters: readonly Tensor[], options?: { readonly learningRate?: number }): void;
}

/** How the training step is made otherwise: what an update ahead of the others cannot respect is refused. */
export interface UpdateInBackwardOptions {
  /** Learning rate of the present step. Default: the optimizer's own. */
  readonly learningRate?: () => number;
  /** The norm that all gradients together are clipped to; 0 is none. Default 0. */
  readonly clipNorm?: number;
  /** How many backward passes a step adds up. Default 1. */
  readonly microBatches?: number;
  /** Whether the loss is scaled, so that a step may be skipped. Default false. */
  readonly scalesLoss?: boolean;
}

/**
 * From now on, backward updates the parameters of each rebuilt block as soon as their gradients are known, and frees
 * those: gradients of one block are alive at a time. `optimizer.step()` after backward updates the rest (head, embedding,
 * blocks that the plan stores or runs again). The same numbers as an ordinary step, bit for bit. Returns a function that
 * ends it.
 *
 * Refused where it would compute something else: global-norm clipping (the norm is known after the last block),
 * gradient accumulation, loss scaling (a step may have to be skipped), and parameters used in more than one place (a block
 * still to be rebuilt would see the new value).
 */
export function updateInBackward(
  sequence: ReversibleSequence,
  optimizer: PartialOptimizer,
  { learningRate, clipNorm = 0, microBatches = 1, scalesLoss = false }: UpdateInBackwardOptions = {},
): () => void {
  const refuse = (what: string, why: string): never => {
    throw new ValueError("updateInBackward", `${what}: ${why}`, "use optimizer.step() after backward instead");
  };
  if (clipNorm > 0) refuse(`clipNorm is ${clipNorm}`, "the norm of all gradients is known only when all are");
  if (microBatches !== 1)
    refuse(`microBatches is ${microBatches}`, "gradients are complete only after the last of them");
  if (scalesLoss) refuse("the loss is scaled", "a step that overflows is skipped as a whole or not at all");
  const update = (parameters: readonly Tensor[]): void => {
    optimizer.updateNow(parameters, learningRate === undefined ? {} : { learningRate: learningRate() });
  };
  sequence.backwardUpdate = () => new BackwardUpdate(new Set(optimizer.parameters), update);
  return () => {
    sequence.backwardUpdate = undefined;
  };
}

/** One pass: which parameters each block uses, found by watching it, and their updates. */
export class BackwardUpdate {
  readonly #owned: ReadonlySet<Tensor>;
  readonly #update: (parameters: readonly Tensor[]) => void;
  readonly #users = new Map<Tensor, PlacedBlock>();

  constructor(owned: ReadonlySet<Tensor>, update: (parameters: readonly Tensor[]) => void) {
    this.#owned = owned;
    this.#update = update;
  }

  /** Runs a block forward. A parameter that another block has used is an error. */
  watch(block: PlacedBlock, engine: Engine, run: () => void): void {
    const captured = engine.watch((watcher) => {
      run();
      return watcher.captured;
    });
    for (const t of captured) {
      if (!this.#owned.has(t)) continue;
      const other = this.#users.get(t);
      if (other !== undefined && other !== block) throw tied(t, `blocks ${other.index} and ${block.index}`);
      this.#users.set(t, block);
    }
  }

  /** Before a node's backward: refuses what an update in it would break, while nothing has been updated by it. */
  assertAllowed(): void {
    for (const [t, block] of this.#users) {
      // Held by its own handle and by the node of its block; whoever else holds it will read it, or has.
      if (t.edge!.node.holders > 2) throw tied(t, `block ${block.index} and elsewhere`);
      if (t.grad === undefined) continue;
      throw new AutogradError(
        "updateInBackward",
        `parameter ${nameOf(t)} has a gradient before block ${block.index} is differentiated`,
        "gradients are accumulated, or were not freed: use optimizer.step() after backward instead",
      );
    }
  }

  /** After a block's backward. */
  apply(block: PlacedBlock): void {
    const own = [...this.#users].flatMap(([t, user]) => (user === block && t.grad !== undefined ? [t] : []));
    if (own.length === 0) return;
    this.#update(own);
    for (const t of own) {
      t.grad!.dispose();
      t.grad = undefined;
    }
  }
}

const nameOf = (t: Tensor): string => `${t.name ?? ""} ${describe(t)}`.trim();

const tied = (t: Tensor, where: string): AutogradError =>
  new AutogradError(
    "updateInBackward",
    `parameter ${nameOf(t)} is tied: it is used in ${where}`,
    "a block that is rebuilt later would see the updated value: use optimizer.step() after backward instead",
  );
