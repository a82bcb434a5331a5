import type { ProbedItem } from "../costModel/probe.ts";
import { type ChoiceTimes, problemOf } from "../costModel/problemOf.ts";
import type { TimeModel } from "../costModel/timeModel.ts";
import { evaluatePlan } from "../planner/evaluate.ts";
import { planChain } from "../planner/planChain.ts";
import type { Plan } from "../planner/problem.ts";
import { OnlinePlanner } from "../scheduler/onlinePlanner.ts";

/** A machine whose true times are known, because they are made up. */
export interface Simulation {
  readonly items: readonly ProbedItem[];
  readonly budgetBytes: number;
  /** True times of an item under a choice in a step, without noise. */
  readonly trueTimes: (step: number, item: number, choice: number) => ChoiceTimes;
  /** What a measurement is off by, as a factor. */
  readonly noise: () => number;
  readonly steps: number;
}

export interface SimulatedStep {
  /** True time of the plan that was taken, over that of the plan from true times, less one. */
  readonly regret: number;
  readonly timeMs: number;
  readonly bestMs: number;
  readonly peakBytes: number;
  /** Median of |expected / true - 1| of the passes that were run, as expected before the step. */
  readonly medianError: number;
}

/** Runs a scheduler against made-up costs. */
export function simulate(
  times: TimeModel,
  { items, budgetBytes, trueTimes, noise, steps }: Simulation,
): SimulatedStep[] {
  const planner = new OnlinePlanner(items, times);
  let current: Plan | undefined;
  let best: { readonly key: string; readonly timeMs: number } | undefined;
  return Array.from({ length: steps }, (_, step): SimulatedStep => {
    const truth = problemOf(items, (i, c) => trueTimes(step, i, c));
    const key = JSON.stringify(truth.items.map((item) => item.choices.map((c) => c.forwardMs + c.backwardMs)));
    if (best?.key !== key) best = { key, timeMs: planChain(truth, budgetBytes)!.timeMs };
    const next = planner.plan(budgetBytes)!;
    const plan = current === undefined || planner.isWorth(next, current) ? next : current;
    current = plan;
    const taken = evaluatePlan(truth, plan.choices);
    const believed = planner.expected();
    const errors = plan.choices.flatMap((c, i) => {
      const [is, was] = [truth.items[i]!.choices[c]!, believed.items[i]!.choices[c]!];
      return [Math.abs(was.forwardMs / is.forwardMs - 1), Math.abs(was.backwardMs / is.backwardMs - 1)];
    });
    planner.observe(
      plan,
      plan.choices.map((c, i) => {
        const { forwardMs, backwardMs } = trueTimes(step, i, c);
        return { forwardMs: forwardMs * noise(), backwardMs: backwardMs * noise() };
      }),
    );
    return {
      regret: taken.timeMs / best.timeMs - 1,
      timeMs: taken.timeMs,
      bestMs: best.timeMs,
      peakBytes: taken.peakBytes,
      medianError: errors.sort((a, b) => a - b)[errors.length >> 1]!,
    };
  });
}
