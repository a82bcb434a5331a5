import { type SimulatedStep, simulate, simulatedChain, type TimeModel } from "@revnet-zero/memory";

export interface SimulatedOptions {
  readonly seed: number;
  readonly steps: number;
  /** From this step on half of all costs are doubled. */
  readonly changeAt: number;
  readonly times: (seed: number) => TimeModel;
}

const regretOf = (steps: readonly SimulatedStep[]): number =>
  steps.reduce((sum, s) => sum + s.timeMs, 0) / steps.reduce((sum, s) => sum + s.bestMs, 0) - 1;

/** A run against costs that are known: no clock is read, the same seed gives the same figures. */
export interface SimulatedRun {
  /** Of all steps before the change together: time over the best plans' time, less one. */
  readonly cumulativeRegret: number;
  readonly medianErrorAfter20Steps: number;
  readonly regretBeforeChange: number;
  readonly regretAtChange: number;
  readonly regretFrom20StepsAfterChange: number;
  readonly stepsOverBudget: number;
}

export function simulatedRun({ seed, steps, changeAt, times }: SimulatedOptions): SimulatedRun {
  const simulation = simulatedChain({ seed, steps, changeAt });
  const found = simulate(times(seed), simulation);
  return {
    cumulativeRegret: regretOf(found.slice(0, changeAt)),
    medianErrorAfter20Steps: found[20]!.medianError,
    regretBeforeChange: found[changeAt - 1]!.regret,
    regretAtChange: found[changeAt]!.regret,
    regretFrom20StepsAfterChange: regretOf(found.slice(changeAt + 20)),
    stepsOverBudget: found.filter((s) => s.peakBytes > simulation.budgetBytes).length,
  };
}
