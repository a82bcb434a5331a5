import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { evaluatePlan, leastPeakBytes, planChain } from "../../src/index.ts";
import { plannerIsOptimal } from "./bruteForce.ts";
import { instance } from "./instances.ts";
import { macroItemsAreExact, nestedFrontIsExact } from "./nested.ts";

test("the planner finds the best of all plans", () => {
  fc.assert(plannerIsOptimal(5), runs(60));
});

test("nested segments: the front of a row of ordinary blocks is that of all its plans", () => {
  fc.assert(nestedFrontIsExact(4), runs(60));
});

test("a row of ordinary blocks is one item of a chain, which gets the best plan of all", () => {
  fc.assert(macroItemsAreExact(3), runs(40));
});

test("a chain of 1,000 blocks, alike or not, gets a plan within a thousandth of a proven bound", () => {
  for (const isUniform of [true, false]) {
    const problem = instance({ length: 1000, seed: 7, isUniform });
    const least = leastPeakBytes(problem);
    const budget = Math.round(1.5 * least);
    const plan = planChain(problem, budget)!;
    expect(plan.peakBytes).toBeLessThanOrEqual(budget);
    expect(evaluatePlan(problem, plan.choices).timeMs).toBe(plan.timeMs);
    expect(plan.timeMs - plan.lowerBoundMs).toBeLessThanOrEqual(1e-3 * plan.timeMs);
  }
});
