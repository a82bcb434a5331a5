import type { Norm } from "@revnet-zero/nn";
import type { Branch } from "../branch.ts";
import type { BackwardPass } from "../passes/backwardPass.ts";
import type { ForwardPass } from "../passes/forwardPass.ts";
import type { StoredPass } from "../passes/storedPass.ts";
import type { StreamPass } from "../passes/streamPass.ts";

/**
 * One elementary invertible map of the streams. A coupling is a sequence of these; exactness, reconstruction, plans,
 * checks and the stored form are then said once, for steps.
 */
export interface Step {
  /** What errors call it, block included: "F of block 3". */
  readonly name: string;
  readonly branches: readonly Branch[];
  /** The norm that it begins with and the stream that this reads: the step before may compute it in its own pass. */
  readonly beginsWith?: { readonly stream: number; readonly norm: Norm } | undefined;

  /** Left out where the map's log-determinant is zero, or noted by the passes; `unknown` where nobody has said. */
  readonly logDeterminant?: "unknown" | undefined;

  /** Replaces the streams, unrecorded. */
  forward(pass: ForwardPass): void;
  /** Undoes `forward`. */
  inverse(pass: StreamPass): void;
  /** Undoes `forward`, and replaces the cotangents of its results by those of what it was given. */
  backward(pass: BackwardPass): void;
  /** The same map by ordinary recorded ops; nothing of the above may be used. */
  record(pass: StoredPass): void;
}

/** Where a step stands: its streams' places (a permutation before it only renames them) and its block. */
export interface StepPlace {
  readonly slot: (stream: number) => number;
  /** "block 3". */
  readonly block: string;
}

/** A step of a coupling, in the coupling's own numbering of the streams. */
export type StepMaker = (place: StepPlace) => Step;
