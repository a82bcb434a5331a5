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
  /** What choices with transfers copy over. Left out: copies take no time. */
  readonly link?: Link | undefined;
}

/** Copies to and from the offload store that are made beside the computation. */
export interface Link {
  readonly bytesPerMs: number;
  /** Bytes on their way out at most: for what would be more the computation waits. Default: no bound. */
  readonly mostBytes?: number | undefined;
  /** Whether what is on its way is among the live bytes, as on a device; that of a disk lies beside the ledger. Default true. */
  readonly isLive?: boolean | undefined;
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

/**
 * What is done with a block; or with a row of ordinary blocks, which is one item: one policy for all of them, or the segments that a
 * `BlockSequence` takes, as text.
 */
export type ChainPolicy = BlockPolicy | RowPolicy;
export type RowPolicy = `segments ${string}`;

export type Table = readonly (readonly number[])[];

export interface PlanChoice {
  readonly policy: ChainPolicy | typeof FIXED;
  readonly forwardMs: number;
  /** With everything that is computed again. */
  readonly backwardMs: number;
  /**
   * Bytes that are copied out beside the forward pass of later items, in order; the backward pass begins when the last copy has ended. They
   * are fetched while the item after this one runs backward (beside its `backwardPeakBytes`); what that item's time does not cover is
   * waited for.
   */
  readonly transferBytes?: number | undefined;
}

interface Queue {
  readonly queuedBytes: number;
  readonly waitMs: number;
}
const emptyQueue: Queue = { queuedBytes: 0, waitMs: 0 };

/** The queue of what is copied out after a time in which `addedBytes` were put into it, and what is waited for. */
export function queueAfter(link: Link | undefined, queuedBytes: number, ms: number, addedBytes: number): Queue {
  if (link === undefined) return emptyQueue;
  const { bytesPerMs, mostBytes = Number.POSITIVE_INFINITY } = link;
  const queued = Math.max(0, queuedBytes - bytesPerMs * ms) + addedBytes;
  return queued <= mostBytes
    ? { queuedBytes: queued, waitMs: 0 }
    : { queuedBytes: mostBytes, waitMs: (queued - mostBytes) / bytesPerMs };
}

/** What bytes on their way count among live ones. */
export const liveBytesOf = (link: Link | undefined, bytes: number): number =>
  link === undefined || link.isLive === false ? 0 : bytes;

export const transferMs = (link: Link | undefined, bytes: number): number =>
  link === undefined ? 0 : bytes / link.bytesPerMs;

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
