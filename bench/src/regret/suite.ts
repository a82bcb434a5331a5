import { CpuBackend } from "@revnet-zero/backend-cpu";
import { OnlineTimes, ScaledPrior, staticTimes, type TimeModel, TimeNetwork } from "@revnet-zero/memory";
import { Engine } from "@revnet-zero/tensor";
import { mean } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { type SimulatedRun, simulatedRun } from "./simulated.ts";

const steps = 75;
/** Here half of all costs are doubled. */
const changeAt = 50;

/** The time models of the strategies against costs that are known. */
export const regret: Suite = {
  about:
    "simulated: time of the schedulers' plans over the best plans', for costs that are known, are noisy and change",
  run: async ({ isQuick, backend, log }) => {
    const seeds = isQuick ? 2 : 100;
    const engine = new Engine(new CpuBackend());
    const models: Readonly<Record<string, (seed: number) => TimeModel>> = {
      static: () => staticTimes,
      adaptive: () => new OnlineTimes(new ScaledPrior()),
      "ml-adaptive": (seed) => new OnlineTimes(new TimeNetwork({ engine, seed })),
    };
    const rows: Row[] = [];
    const summary: Record<string, unknown> = {};
    for (const [strategy, times] of Object.entries(models)) {
      const runs = Array.from({ length: seeds }, (_, seed) => simulatedRun({ seed, steps, changeAt, times }));
      rows.push(...runs.map((run, seed) => ({ backend, dtype: "f64", strategy, seed, ...run })));
      summary[strategy] = summarise(runs);
      log(`  ${strategy}: ${(100 * mean(runs.map((r) => r.cumulativeRegret))).toFixed(2)} % cumulative regret`);
    }
    return {
      settings: { seeds, blocks: 24, steps, changeAt, priorDeviation: 0.4, noiseDeviation: 0.05 },
      rows,
      summary,
    };
  },
};

function summarise(runs: readonly SimulatedRun[]): Record<string, number> {
  const meanOf = (field: keyof SimulatedRun): number => mean(runs.map((r) => r[field]));
  return {
    cumulativeRegret: meanOf("cumulativeRegret"),
    largestCumulativeRegret: Math.max(...runs.map((r) => r.cumulativeRegret)),
    medianErrorAfter20Steps: meanOf("medianErrorAfter20Steps"),
    regretBeforeChange: meanOf("regretBeforeChange"),
    regretAtChange: meanOf("regretAtChange"),
    regretFrom20StepsAfterChange: meanOf("regretFrom20StepsAfterChange"),
    stepsOverBudget: runs.reduce((sum, r) => sum + r.stepsOverBudget, 0),
  };
}
