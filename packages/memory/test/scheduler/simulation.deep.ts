import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { OnlineTimes, TimeNetwork } from "../../src/index.ts";
import { learnedRuns, meanOf } from "./simulated.ts";

const engine = new Engine(new CpuBackend());
const times = (seed: number) => new OnlineTimes(new TimeNetwork({ engine, seed }));

test("over 100 seeds, cumulative regret after 50 steps is under 2 %, and 20 steps after a change under 2 % again", () => {
  const found = learnedRuns({ seeds: 100, steps: 75, changeAt: 50, times });
  expect(found.stepsOverBudget).toBe(0);
  expect(meanOf(found.cumulativeRegret)).toBeLessThan(0.02);
  expect(meanOf(found.errorAfter20)).toBeLessThan(0.1);
  expect(meanOf(found.regretAfterChange)).toBeLessThan(0.02);
}, 900_000);
