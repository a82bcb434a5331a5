import { formatBytes } from "@revnet-zero/plot";
import { mean, median, timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { planLongChain } from "./longChains.ts";
import { type MeasuredModel, type MeasuredPlan, measureModel } from "./measureModel.ts";
import { benchModels } from "./models.ts";

/** Times that differ by less are the same. */
const NOISE = 0.03;

/** Time against peak memory of passes under a budget, beside plans of one policy. */
export const scheduler: Suite = {
  about: "time against peak memory of training passes under a budget: ml-adaptive, greedy, and plans of one policy",
  run: async ({ isQuick, log, backend }) => {
    const settings = { adaptSteps: isQuick ? 2 : 6, repeats: isQuick ? 2 : 5, isQuick };
    const rows: Row[] = [];
    const models: Record<string, unknown> = {};
    for (const [model, make] of Object.entries(benchModels)) {
      const found = measureModel(make, settings);
      for (const { timesMs, budgetBytes = null, traffic: _, ...plan } of found.plans) {
        rows.push({ backend, dtype: "f32", model, ...plan, budgetBytes, ...timeColumns(timesMs) });
        log(`  ${model}, ${plan.plan}: ${formatBytes(plan.peakBytes)}, ${median(timesMs).toFixed(0)} ms`);
      }
      models[model] = summarise(found);
    }
    const long = [true, false].map((areAlike) => planLongChain(isQuick ? 50 : 1000, areAlike));
    for (const { blocks, planMs } of long) log(`  a chain of ${blocks} blocks is planned in ${planMs.toFixed(0)} ms`);
    return { settings: { ...settings, noise: NOISE }, rows, summary: { models, longChains: long } };
  },
  chart: (rows) => {
    const [first] = Object.keys(benchModels);
    const of = rows.filter((r) => r.model === first);
    const names = [...new Set(of.map((r) => r.plan as string))];
    return {
      title: `Time of a forward and backward pass against its peak: ${first}`,
      xLabel: "peak memory, MiB",
      yLabel: "milliseconds",
      yFrom: 0,
      series: names.map((name) => ({
        name,
        points: of
          .filter((r) => r.plan === name)
          .map((r) => ({ x: (r.peakBytes as number) / 2 ** 20, y: r.timeMs as number }))
          .sort((a, b) => a.x - b.x),
      })),
    };
  },
};

function summarise({ plans, ...found }: MeasuredModel): Record<string, unknown> {
  const adaptive = plans.filter((p) => p.plan === "ml-adaptive");
  const greedy = plans.filter((p) => p.plan === "greedy");
  const stored = plans.find((p) => p.plan === "stored")!;
  const checkpointed = plans.find((p) => p.plan === "all checkpointed")!;
  const baselines = plans.filter((p) => p.budgetBytes === undefined && p !== stored && p.traffic === undefined);
  const against = Object.fromEntries(baselines.map((b) => [b.plan, comparison(b, adaptive)]));
  const leanest = adaptive.reduce((a, b) => (b.activationBytes < a.activationBytes ? b : a));
  return {
    against,
    againstStored: {
      activationReduction: 1 - leanest.activationBytes / stored.activationBytes,
      timeRatio: ratio(leanest, stored),
      timeRatioAtEightyPercent: atLeastReduced(adaptive, stored, 0.8),
    },
    disk: Object.fromEntries(plans.flatMap((p) => onDisk(p, p.plan === "swapped to disk" ? stored : checkpointed))),
    againstGreedy: adaptive.map((a, i) => ratio(a, greedy[i]!)),
    largestGreedyRegret: Math.max(...found.greedyRegrets),
    medianErrorAfter20Steps: found.medianError,
    stepsOverBudget: found.stepsOverBudget,
    scheduledSteps: found.scheduledSteps,
    planningShare: mean(adaptive.map((a) => a.planningMs / median(a.timesMs))),
  };
}

/** What a plan that goes to disk comes to, beside the plan that keeps in memory what this one puts there. */
function onDisk(plan: MeasuredPlan, inMemory: MeasuredPlan): [string, Record<string, number>][] {
  if (plan.traffic === undefined) return [];
  const { bytes, mostStagedBytes, transferMs, waitedMs } = plan.traffic;
  const passes = plan.timesMs.length;
  const found = {
    peakBytes: plan.peakBytes,
    inMemoryPeakBytes: inMemory.peakBytes,
    timeRatio: ratio(plan, inMemory),
    bytes: bytes / passes,
    mostStagedBytes,
    transferMs: transferMs / passes,
    hiddenShare: 1 - waitedMs / transferMs,
  };
  return [[plan.plan, found]];
}

/** Median of the ratios of passes that ran one after the other. */
const ratio = (a: MeasuredPlan, b: MeasuredPlan): number => median(a.timesMs.map((ms, i) => ms / b.timesMs[i]!));

/** The best that plans under a budget do where a baseline sits: less memory at no more time, and less time at no more memory. */
function comparison(baseline: MeasuredPlan, plans: readonly MeasuredPlan[]): Record<string, number> {
  const asFast = plans.filter((p) => ratio(p, baseline) <= 1 + NOISE);
  const asLean = plans.filter((p) => p.peakBytes <= baseline.peakBytes);
  const least = (values: readonly number[]): number => (values.length === 0 ? Number.NaN : Math.min(...values));
  return {
    peakAtNoMoreTime: least(asFast.map((p) => p.peakBytes)) / baseline.peakBytes - 1,
    timeAtNoMorePeak: least(asLean.map((p) => ratio(p, baseline))) - 1,
  };
}

/** Of plans whose activations are that much less than stored ones', the least time over the stored passes'. */
function atLeastReduced(plans: readonly MeasuredPlan[], stored: MeasuredPlan, share: number): number | null {
  const lean = plans.filter((p) => p.activationBytes <= (1 - share) * stored.activationBytes);
  return lean.length === 0 ? null : Math.min(...lean.map((p) => ratio(p, stored)));
}
