import type { Engine, Tensor } from "@revnet-zero/tensor";
import type { ReversibleBlock } from "./block.ts";
import type { CheckLevel } from "./blockChecks.ts";
import type { ReversibleMode } from "./modes.ts";
import type { OffloadStore } from "./offload.ts";
import type { MemoryPlan } from "./plan.ts";

export interface ReversibleSequenceOptions<B extends ReversibleBlock = ReversibleBlock> {
  /** Pairs of branches `{ F, G }` (additive), or what the couplings' functions make. */
  readonly blocks: readonly B[];
  readonly mode?: ReversibleMode;
  /**
   * Bits after the binary point of fixed-point and grid streams. Default 20 (Q12.20: steps of 9.5e-7, range ±2048) for
   * int32 streams; for the others, and with "auto" for all, as many as leave four times the range that `calibrate` or
   * the first forward pass measures. What was measured is saved with the parameters.
   */
  readonly fractionBits?: number | "auto" | undefined;
  /**
   * Width of the streams' last axis: a sequence made in mode `exact16` then measures and scales each channel by itself.
   * Default: all alike.
   */
  readonly channels?: number | undefined;
  /**
   * How far mode `float` may drift, relative to the streams: where a backward pass measures more, the next pass keeps the
   * streams halfway (an anchor), and so on until every drift is below. Default: no bound.
   */
  readonly driftTolerance?: number | undefined;
  /** Default: that of the branches' parameters, or the default engine. */
  readonly engine?: Engine;
  /** What is done with each block, in modes that rebuild activations. Default: all are rebuilt. */
  readonly plan?: MemoryPlan | undefined;
  /** Where the plan's offloaded streams go. Default: `new HostOffload()`, the host's memory. */
  readonly offload?: OffloadStore;
  /**
   * Keep something of every block's input streams and compare it when backward has rebuilt them; a difference is a
   * `ReconstructionError` that names block, stream and element. True is `sums`. Default false. For finding a branch
   * that is not its own twin: each block's streams are read back in both passes.
   */
  readonly check?: boolean | CheckLevel;
}

/** Two residual streams, of one shape. */
export type Streams = readonly [Tensor, Tensor];

/** Outputs of a sequence, and the logarithm of the volume its couplings have changed by. */
export interface Transformed {
  readonly streams: Tensor[];
  /** Σ log |det| for every sample, [batch]: what a density needs (affine couplings; zero for additive ones). */
  readonly logDeterminant: Tensor;
}

/** A forward pass that can be undone once. */
export interface Invertible {
  /** The output streams: fixed-point ones in the fixed-point modes. */
  readonly streams: Tensor[];
  /** Bytes of what was remembered: side information of the steps, and information buffers. */
  readonly sideBytes: number;
  /** The input streams again (floats where floats went in), freeing what was remembered. Call it once. */
  inverse(): Tensor[];
  /** Frees what was remembered, where nobody wants the inverse. */
  dispose(): void;
}
