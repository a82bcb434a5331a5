import type { Link, PlanItem, PlanProblem } from "../planner/problem.ts";
import type { ProbedItem } from "./probe.ts";

/** Milliseconds of a choice's forward and backward pass. */
export interface ChoiceTimes {
  readonly forwardMs: number;
  readonly backwardMs: number;
}

/** Probed bytes with times, as the planner takes them. `link`: what copies to the offload store go over, where they are made beside the passes. */
export function problemOf(
  items: readonly ProbedItem[],
  timesOf: (item: number, choice: number) => ChoiceTimes,
  link?: Link,
): PlanProblem {
  return {
    link,
    items: items.map(
      ({ name, choices, keptBytes, forwardPeakBytes, backwardPeakBytes }, i): PlanItem => ({
        name,
        choices: choices.map(({ policy, transferBytes }, c) => ({ policy, transferBytes, ...timesOf(i, c) })),
        keptBytes,
        forwardPeakBytes,
        backwardPeakBytes,
      }),
    ),
  };
}
