import type { Arm } from "./arms.ts";

/** Predicts what passes take, and learns from what they took. */
export interface TimeModel {
  /** Called once, with all arms there are, before anything else. */
  prepare(arms: readonly Arm[]): void;
  /** Milliseconds, as expected. */
  expectedMs(arm: Arm): number;
  /** Milliseconds, at best: less than expected where little was observed, so that a plan tries it. */
  optimisticMs(arm: Arm): number;
  /** The passes of a step that was run, with what they took. */
  observe(times: readonly ArmTime[]): void;
}

export interface ArmTime {
  readonly arm: Arm;
  readonly ms: number;
}

/** By operations and bytes alone; learns nothing. */
export const staticTimes: TimeModel = {
  prepare: () => {},
  expectedMs: (arm) => arm.priorMs,
  optimisticMs: (arm) => arm.priorMs,
  observe: () => {},
};
