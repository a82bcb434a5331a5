import { addToRow, type Tensor } from "@revnet-zero/tensor";
import type { CountsRow } from "./arithmetic/arithmetic.ts";

/** What happened to the increments of one half-step, in elements. */
export interface StepHealth {
  readonly step: number;
  /** Increments beyond the int32 range, clipped to its end. */
  readonly saturated: number;
  /** Sums that wrapped around: still inverted exactly, but the value jumped by the whole range. */
  readonly wrapped: number;
  /** Increments that were NaN and counted as zero. */
  readonly nan: number;
}

export interface StreamHealth extends Omit<StepHealth, "step"> {
  /** The half-steps where anything happened. */
  readonly steps: readonly StepHealth[];
}

/** Adds the counts of one half-step to its row of the record `[steps, 3]`, in place, and lets go of them. */
export function noteCounts(into: CountsRow | undefined, counts: Tensor): void {
  if (into !== undefined) addToRow(into.record, into.row, counts).dispose();
  counts.dispose();
}

/** The record of the last forward pass in words. */
export async function readHealth(record: Tensor): Promise<StreamHealth> {
  const counts = await record.data();
  const steps: StepHealth[] = [];
  for (let step = 0; step < counts.length / 3; step++) {
    const [saturated, wrapped, nan] = counts.subarray(3 * step, 3 * step + 3) as unknown as [number, number, number];
    if (saturated + wrapped + nan > 0) steps.push({ step, saturated, wrapped, nan });
  }
  const total = (pick: (s: StepHealth) => number): number => steps.reduce((n, s) => n + pick(s), 0);
  return { saturated: total((s) => s.saturated), wrapped: total((s) => s.wrapped), nan: total((s) => s.nan), steps };
}
