import type { PlanItem, PlanProblem } from "../planner/problem.ts";
import type { ProbedItem } from "./probe.ts";

/** Milliseconds of a choice's forward and backward pass. */
export interface ChoiceTimes {
  readonly forwardMs: number;
  readonly backwardMs: number;
}

/** Probed bytes with times, as the planner takes them. */
export function problemOf(
  items: readonly ProbedItem[],
  timesOf: (item: number, choice: number) => ChoiceTimes,
): PlanProblem {
  return {
    items: items.map(
      ({ name, choices, keptBytes, forwardPeakBytes, backwardPeakBytes }, i): PlanItem => ({
        name,
        choices: choices.map(({ policy }, c) => ({ policy, ...timesOf(i, c) })),
        keptBytes,
        forwardPeakBytes,
        backwardPeakBytes,
      }),
    ),
  };
}
