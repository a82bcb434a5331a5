import { type Engine, isFloat, Tensor, tensorsIn } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic } from "../arithmetic/arithmetic.ts";
import type { BackwardUpdate } from "../backwardUpdate.ts";
import type { BlockChecks } from "../blockChecks.ts";
import type { BlockObserver } from "../observer.ts";
import type { OffloadStore, SharedOffload } from "../offload.ts";
import type { PassContext } from "../passes/context.ts";

/** What goes from one segment to the next. */
export interface Flow {
  /** By slot; then their information buffers, where the arithmetic has some. */
  readonly streams: readonly Tensor[];
  readonly logDeterminant?: Tensor | undefined;
  /** False where the sequence begins: floats that are no streams yet, and no buffers. */
  readonly isEntered: boolean;
  /** The same tensors in the offload store, where the segment before has put them there. */
  readonly offloaded?: SharedOffload | undefined;
}

/** What all segments of one pass share. */
export interface SegmentRun {
  readonly engine: Engine;
  readonly arithmetic: StreamArithmetic;
  readonly stored: StoredArithmetic;
  readonly runner: PassContext;
  readonly context: readonly unknown[];
  readonly counts: Tensor | undefined;
  readonly drifts: Tensor;
  /** Told how many bytes a segment remembers beside its streams. */
  readonly noteSide: (bytes: number) => void;
  readonly offload: OffloadStore;
  readonly checks: BlockChecks | undefined;
  readonly update: BackwardUpdate | undefined;
  readonly observer: BlockObserver | undefined;
}

/** A flow as the inputs or outputs of one node, and back. */
export const flat = ({ streams, logDeterminant }: Flow): Tensor[] =>
  logDeterminant === undefined ? [...streams] : [...streams, logDeterminant];

export function unflat(tensors: readonly Tensor[], hasLogDeterminant: boolean): Flow {
  if (!hasLogDeterminant) return { streams: tensors, isEntered: true };
  return { streams: tensors.slice(0, -1), logDeterminant: tensors.at(-1)!, isEntered: true };
}

export const makeBuffers = (
  streams: readonly Tensor[],
  { makeBuffer }: Pick<StreamArithmetic, "makeBuffer">,
): Tensor[] => (makeBuffer === undefined ? [] : streams.map(makeBuffer));

/** The tensors of a context: second runs read them again. */
export const contextTensors = (context: readonly unknown[]): Tensor[] =>
  tensorsIn(context, (v): v is Tensor => v instanceof Tensor);

/** Floats as streams, recorded, with their buffers. */
export function enterStored(flow: Flow, { stored }: SegmentRun): Flow {
  if (flow.isEntered) return flow;
  // An alias where nothing was converted, so that a stream's gradient is summed up before it joins what else its tensor
  // receives: the same order of additions as in the reconstructing modes, one tensor for several streams included. And no
  // output is ever an input.
  const streams = flow.streams.map((x) => {
    const stream = !isFloat(x.dtype) && x.dtype === stored.dtype ? x : stored.enter(x);
    return stream === x ? x.alias() : stream;
  });
  return { ...flow, streams: [...streams, ...makeBuffers(streams, stored)], isEntered: true };
}
