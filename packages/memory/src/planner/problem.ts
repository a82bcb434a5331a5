import type { BlockPolicy } from "@revnet-zero/reversible";

/**
 * What is planned: a training step as a chain of items, run forward in order and backward in reverse. An item is a block with a choice
 * of policies, or what lies between blocks (a stem, a change of resolution, the head with the loss), with a single choice. Bytes are
 * live ones, of everything: the gradients of later items are among those of an item's backward pass.
 *
 * Which bytes an item keeps depends on its neighbours' choices too (streams at a boundary are kept once, whoever needs them), and so
 * tables are indexed by two choices.
 */
export interface PlanProblem {
  readonly items: readonly PlanItem[];
  /** Speed of copies to the offload store that run beside the computation. Left out: choices have no transfers. */
  readonly transferBytesPerMs?: number | undefined;
}

export interface PlanItem {
  readonly name: string;
  readonly choices: readonly PlanChoice[];
  /** [choice before][own choice]: bytes that it keeps for its backward pass. What items up to one keep is M. */
  readonly keptBytes: Table;
  /** [choice before][own choice]: highest bytes in its forward pass, less M of the items before. */
  readonly forwardPeakBytes: Table;
  /** [own choice][choice after]: highest bytes in its backward pass, less M with its own. */
  readonly backwardPeakBytes: Table;
}

export type Table = readonly (readonly number[])[];

export interface PlanChoice {
  readonly policy: BlockPolicy | typeof FIXED;
  readonly forwardMs: number;
  /** With everything that is computed again. */
  readonly backwardMs: number;
  /**
   * Bytes that are copied out beside the forward pass of later items, in order, and live until then; the backward pass begins when the
   * last copy has ended. They are fetched while the item after this one runs backward, and live from then on (beside
   * `backwardPeakBytes` of that item); what that item's time does not cover is waited for.
   */
  readonly transferBytes?: number | undefined;
}

/** Bytes that leave the queue in a time; all of them where copies take none. */
export const drainedBytes = (transferBytesPerMs: number | undefined, ms: number): number =>
  transferBytesPerMs === undefined ? Number.POSITIVE_INFINITY : transferBytesPerMs * ms;

/** The policy of an item without a choice. */
export const FIXED = "fixed";

/** What a plan comes to. */
export interface PlanCost {
  readonly timeMs: number;
  /** Highest live bytes, less those where the step begins. */
  readonly peakBytes: number;
}

/** A choice for every item, by its index. */
export interface Plan extends PlanCost {
  readonly choices: readonly number[];
  /** No plan that fits takes less time than this: the plan's own time where it was proven best. */
  readonly lowerBoundMs: number;
}
