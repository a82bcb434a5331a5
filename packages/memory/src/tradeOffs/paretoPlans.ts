import type { BlockPolicy } from "@revnet-zero/reversible";
import { evaluatePlan } from "../planner/evaluate.ts";
import { leastPeakBytes, planChain } from "../planner/planChain.ts";
import { FIXED, type PlanCost, type PlanProblem } from "../planner/problem.ts";

/** A plan among others, with what it comes to. */
export interface CostedPlan extends PlanCost {
  readonly choices: readonly number[];
}

/**
 * The best trade-offs of time and peak, from the smallest peak to the least time: the planner's answers to `count` budgets between these
 * two, without what another of them beats.
 */
export function paretoPlans(problem: PlanProblem, { count = 24 }: { readonly count?: number } = {}): CostedPlan[] {
  const fastest = planChain(problem, Number.POSITIVE_INFINITY)!;
  const least = leastPeakBytes(problem);
  const found: CostedPlan[] = [fastest];
  for (let i = 0; i < count && fastest.peakBytes > least; i++) {
    const plan = planChain(problem, Math.floor(least + ((fastest.peakBytes - least) * i) / count));
    if (plan !== undefined) found.push(plan);
  }
  const sorted = found.sort((a, b) => a.peakBytes - b.peakBytes || a.timeMs - b.timeMs);
  let leastMs = Number.POSITIVE_INFINITY;
  return sorted.filter(({ timeMs }) => {
    const isBetter = timeMs < leastMs;
    leastMs = Math.min(leastMs, timeMs);
    return isBetter;
  });
}

/** One policy for every block: what people do without a planner. Undefined where some block is not offered it. */
export function uniformPlan(problem: PlanProblem, policy: BlockPolicy): CostedPlan | undefined {
  const choices = problem.items.map(({ choices }) =>
    choices[0]!.policy === FIXED ? 0 : choices.findIndex((c) => c.policy === policy),
  );
  return choices.includes(-1) ? undefined : { choices, ...evaluatePlan(problem, choices) };
}
