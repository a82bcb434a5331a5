import type { BlockPolicy } from "@revnet-zero/reversible";

/** What one policy costs for one block. Bytes and times are of one training step. */
export interface PolicyCost {
  readonly policy: BlockPolicy;
  /** Bytes that the block keeps from its forward pass until its backward pass. */
  readonly keptBytes: number;
  /** Forward time. */
  readonly forwardMs: number;
  /** Backward time, with whatever is computed again. */
  readonly backwardMs: number;
  /** Highest bytes during the block's forward pass, beyond what blocks before it keep. */
  readonly forwardPeakBytes: number;
  /** The same during its backward pass, what the block kept included. */
  readonly backwardPeakBytes: number;
}

/** A block and the policies that may be chosen for it. */
export interface BlockCosts {
  readonly name: string;
  readonly choices: readonly PolicyCost[];
}
