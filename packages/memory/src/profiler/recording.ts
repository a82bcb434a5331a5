import type { DType, MemoryCategory, Meta, Shape } from "@revnet-zero/tensor";

/**
 * What a step does: `forward` until the first backward pass; `backward`, and in it `recompute` where code runs a second time; `update`
 * after a backward pass, until a module runs again.
 */
export const stepPhases = ["forward", "backward", "recompute", "update"] as const;
export type StepPhase = (typeof stepPhases)[number];

/** Where something happened. */
export interface Place {
  /** Name of the op, or "" for what was made outside of ops (inputs, constants). */
  readonly op: string;
  /** Path of the module, outermost first; "" outside of modules. */
  readonly module: string;
  readonly phase: StepPhase;
}

/** The life of one buffer. Instants are places in the list of changes; times are milliseconds from the beginning. */
export interface BufferLife extends Place {
  readonly bytes: number;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Name of the parameter or buffer of the model that it belongs to. */
  readonly name: string | undefined;
  /** File and line that made it, where call sites were asked for. */
  readonly callSite: string | undefined;
  /** -1 for what was there before. */
  readonly born: number;
  /** Infinity for what is still there at the end. */
  died: number;
  /** What it was for, from which instant on; oldest first. */
  readonly purposes: { readonly since: number; readonly category: MemoryCategory }[];
}

/** An op that was run. */
export interface OpRecord extends Place {
  readonly inputs: readonly Meta[];
  readonly outputs: readonly Meta[];
  /** From the beginning of the profile. */
  readonly startMs: number;
  readonly timeMs: number;
  /** Time less that of the ops it was put together from. */
  readonly selfMs: number;
}

/** Bytes of every category after one change, in the order of `categories`. */
export interface Change {
  readonly timeMs: number;
  readonly bytes: readonly number[];
  readonly phase: StepPhase;
}

/** All that was seen, in order. */
export interface Recording {
  readonly buffers: readonly BufferLife[];
  readonly ops: readonly OpRecord[];
  /** The first one is the beginning. */
  readonly changes: readonly Change[];
  readonly timeMs: number;
  /** Bytes that the backend holds from the system at the end: in use, and kept for reuse. Undefined where it does not say. */
  readonly reservedBytes: number | undefined;
}

/** What a buffer was for at an instant. */
export function categoryAt({ purposes }: BufferLife, instant: number): MemoryCategory {
  return (purposes.findLast(({ since }) => since <= instant) ?? purposes[0]!).category;
}

export const isAliveAt = ({ born, died }: BufferLife, instant: number): boolean => born <= instant && instant < died;
