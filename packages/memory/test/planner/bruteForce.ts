import fc from "fast-check";
import { expect } from "vitest";
import { evaluatePlan, leastPeakBytes, type PlanProblem, planChain } from "../../src/index.ts";
import { allPlans, instance, instances } from "./instances.ts";

/** The best plan within each of some budgets, and the least peak, by trying all plans. */
function tryAll(problem: PlanProblem): { readonly leastPeak: number; timeWithin(budget: number): number } {
  const costs = [...allPlans(problem)].map((choices) => evaluatePlan(problem, choices));
  return {
    leastPeak: Math.min(...costs.map((c) => c.peakBytes)),
    timeWithin: (budget) => Math.min(...costs.filter((c) => c.peakBytes <= budget).map((c) => c.timeMs)),
  };
}

/** Sums of whole times; waits for transfers are fractions, whose sums round. */
const isSame = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));

/** The planner finds what trying all plans finds: at a drawn budget, at the least one, and just below it. */
export const plannerIsOptimal = (maxLength: number): fc.IPropertyWithHooks<[object, number]> =>
  fc.property(instances(maxLength), fc.double({ min: 0, max: 2, noNaN: true }), (options, share) => {
    const problem = instance(options);
    const truth = tryAll(problem);
    const least = leastPeakBytes(problem);
    expect(least).toBe(Math.ceil(truth.leastPeak));
    expect(planChain(problem, least - 1)).toBeUndefined();
    for (const budget of [least, Math.floor(least * (1 + share))]) {
      // The second so narrow that bounds have to find the plan and prove it.
      for (const width of [50, 2]) {
        const plan = planChain(problem, budget, { width })!;
        expect(evaluatePlan(problem, plan.choices)).toEqual({ timeMs: plan.timeMs, peakBytes: plan.peakBytes });
        expect(plan.peakBytes).toBeLessThanOrEqual(budget);
        const best = truth.timeWithin(budget);
        if (!isSame(plan.timeMs, best)) expect(plan.timeMs).toBe(best);
        if (!isSame(plan.lowerBoundMs, best)) expect(plan.lowerBoundMs).toBe(best);
      }
    }
  });
