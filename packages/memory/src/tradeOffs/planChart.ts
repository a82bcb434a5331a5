import { formatBytes, formatMs, type NamedPoint, type ScatterChart } from "@revnet-zero/plot";
import type { CostedPlan } from "./paretoPlans.ts";

export interface PlanChartOptions {
  /** The best trade-offs, from the smallest peak on. */
  readonly plans: readonly CostedPlan[];
  /** Plans to compare with, by name. */
  readonly baselines: Readonly<Record<string, CostedPlan | undefined>>;
  readonly chosen: CostedPlan | undefined;
  readonly budgetBytes: number | undefined;
  /** Bytes live where the step begins, which plans do not count. */
  readonly startBytes: number;
  readonly title?: string;
}

/** Time against peak, for `svgScatterChart` and `textScatter`. */
export function planChart(options: PlanChartOptions): ScatterChart {
  const { plans, baselines, chosen, budgetBytes, startBytes, title = "What memory buys" } = options;
  const at = ({ peakBytes, timeMs }: CostedPlan) => ({ x: peakBytes + startBytes, y: timeMs });
  const named = Object.entries(baselines).flatMap(([name, plan]): NamedPoint[] =>
    plan === undefined ? [] : [{ name, ...at(plan) }],
  );
  const chosenPoint: NamedPoint[] = chosen === undefined ? [] : [{ name: "chosen", ...at(chosen), isChosen: true }];
  return {
    title,
    xLabel: "peak of the step",
    yLabel: "time of forward and backward",
    front: { name: "best plans", points: plans.map(at) },
    points: [...named, ...chosenPoint],
    ...(budgetBytes === undefined ? {} : { limit: { name: "budget", x: budgetBytes } }),
    xBase: "binary",
    formatX: formatBytes,
    formatY: formatMs,
  };
}
