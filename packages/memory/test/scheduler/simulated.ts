import { type SimulatedStep, simulate, simulatedChain, type TimeModel } from "../../src/index.ts";

export interface LearnedOptions {
  readonly seeds: number;
  readonly steps: number;
  readonly changeAt?: number;
  readonly times: (seed: number) => TimeModel;
}

/** Regret of all steps together: time over the best plans' time, less one. */
const regretOf = (steps: readonly SimulatedStep[]): number =>
  steps.reduce((sum, s) => sum + s.timeMs, 0) / steps.reduce((sum, s) => sum + s.bestMs, 0) - 1;

export const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Simulated runs, one a seed. */
export function learnedRuns({ seeds, steps, changeAt, times }: LearnedOptions) {
  const runs = Array.from({ length: seeds }, (_, seed) => {
    const simulation = simulatedChain({ seed, steps, ...(changeAt === undefined ? {} : { changeAt }) });
    return { simulation, found: simulate(times(seed), simulation) };
  });
  const at = changeAt ?? 0;
  return {
    cumulativeRegret: runs.map(({ found }) => regretOf(found.slice(0, 50))),
    errorAfter20: runs.map(({ found }) => found[20]!.medianError),
    regretAtChange: runs.map(({ found }) => found[at]!.regret),
    regretAfterChange: runs.map(({ found }) => regretOf(found.slice(at + 20))),
    stepsOverBudget: runs.flatMap(({ found, simulation }) => found.filter((s) => s.peakBytes > simulation.budgetBytes))
      .length,
  };
}
