import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { OnlineTimes, TimeNetwork } from "../../src/index.ts";
import { learnedRuns, meanOf } from "./simulated.ts";

const engine = new Engine(new CpuBackend());
const times = (seed: number) => new OnlineTimes(new TimeNetwork({ engine, seed }));

test("against known costs, regret and error fall, and no step exceeds the budget", () => {
  const found = learnedRuns({ seeds: 3, steps: 50, times });
  expect(found.stepsOverBudget).toBe(0);
  expect(meanOf(found.cumulativeRegret)).toBeLessThan(0.02);
  expect(meanOf(found.errorAfter20)).toBeLessThan(0.1);
});

test("after costs double, plans are near the best ones again within 20 steps", () => {
  const found = learnedRuns({ seeds: 2, steps: 75, changeAt: 50, times });
  expect(found.stepsOverBudget).toBe(0);
  expect(meanOf(found.regretAtChange)).toBeGreaterThan(0.02);
  expect(meanOf(found.regretAfterChange)).toBeLessThan(0.02);
});
