import { categories, type MemoryCategory } from "@revnet-zero/tensor";
import { type BufferLife, categoryAt, isAliveAt, type Recording, type StepPhase, stepPhases } from "./recording.ts";

/** Bytes and time of one category, module, op or phase. */
export interface Usage {
  readonly name: string;
  /** Of what was alive at the peak. */
  readonly peakBytes: number;
  /** Of everything it made in the whole profile. */
  readonly allocatedBytes: number;
  /** Ops that ran in it. */
  readonly ops: number;
  /** Time of these, without the parts of others counted twice. */
  readonly timeMs: number;
}

/** A buffer of the table of the largest. */
export interface LiveTensor extends Omit<BufferLife, "born" | "died" | "purposes"> {
  readonly category: MemoryCategory;
  /** Whether it was there before the profile began. */
  readonly isOlder: boolean;
  /** Whether it is still there at the end. */
  readonly isKept: boolean;
}

/** The first `depth` parts of a module's path. */
export function outerPath(module: string, depth: number): string {
  return depth === Number.POSITIVE_INFINITY ? module : module.split(".").slice(0, depth).join(".");
}

interface Sums {
  peakBytes: number;
  allocatedBytes: number;
  ops: number;
  timeMs: number;
}

/** Sums by a name that buffers and ops are given, largest at the peak first, then by time. */
export function usageBy(
  { buffers, ops }: Recording,
  peak: number,
  nameOf: (thing: { readonly op: string; readonly module: string; readonly phase: StepPhase }) => string,
): Usage[] {
  const sums = new Map<string, Sums>();
  const of = (name: string): Sums => {
    const known = sums.get(name);
    if (known !== undefined) return known;
    const fresh = { peakBytes: 0, allocatedBytes: 0, ops: 0, timeMs: 0 };
    sums.set(name, fresh);
    return fresh;
  };
  for (const life of buffers) {
    // What was there before was made by nobody here: it is in the table of categories.
    if (life.born < 0) continue;
    const entry = of(nameOf(life));
    entry.allocatedBytes += life.bytes;
    if (isAliveAt(life, peak)) entry.peakBytes += life.bytes;
  }
  for (const op of ops) {
    const entry = of(nameOf(op));
    entry.ops++;
    entry.timeMs += op.selfMs;
  }
  return [...sums]
    .map(([name, entry]) => ({ name, ...entry }))
    .sort((a, b) => b.peakBytes - a.peakBytes || b.timeMs - a.timeMs);
}

/** Phases in their order, those that did not occur left out. */
export function usageByPhase(recording: Recording, peak: number): Usage[] {
  const found = usageBy(recording, peak, ({ phase }) => phase);
  return stepPhases.flatMap((phase) => found.filter(({ name }) => name === phase));
}

/** Bytes by category at an instant. */
export function bytesAt({ changes }: Recording, instant: number): Readonly<Record<MemoryCategory, number>> {
  const { bytes } = changes[instant]!;
  return Object.fromEntries(categories.map((c, i) => [c, bytes[i]!])) as Record<MemoryCategory, number>;
}

/** What was alive at an instant, the largest first. */
export function liveAt({ buffers }: Recording, instant: number): LiveTensor[] {
  return buffers
    .filter((life) => isAliveAt(life, instant))
    .sort((a, b) => b.bytes - a.bytes || a.born - b.born)
    .map((life) => {
      const { born, died, purposes: _, ...rest } = life;
      return {
        ...rest,
        category: categoryAt(life, instant),
        isOlder: born < 0,
        isKept: died === Number.POSITIVE_INFINITY,
      };
    });
}
