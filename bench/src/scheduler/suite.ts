import { formatBytes, formatMs } from "@revnet-zero/plot";
import { median, timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { planLongChain } from "./longChains.ts";
import { type MeasuredModel, type MeasuredOnDisk, type MeasuredPlan, measureModel } from "./measureModel.ts";
import { benchModels } from "./models.ts";

/** Times that differ by less are the same. */
const NOISE = 0.03;

/** Time against peak memory of passes under a budget, beside plans of one policy. */
export const scheduler: Suite = {
  about: "time against peak memory of training passes under a budget: ml-adaptive, greedy, and plans of one policy",
  run: async ({ isQuick, log, backend }) => {
    const settings = { adaptSteps: isQuick ? 2 : 6, repeats: isQuick ? 2 : 6, isQuick };
    const rows: Row[] = [];
    const models: Record<string, unknown> = {};
    for (const [model, make] of Object.entries(benchModels)) {
      const found = measureModel(make, settings);
      for (const { timesMs, budgetBytes = null, ...plan } of [...found.plans, ...found.toDisk.map((d) => d.moved)]) {
        rows.push({ backend, dtype: "f32", model, ...plan, budgetBytes, ...timeColumns(timesMs) });
        log(`  ${model}, ${plan.plan}: ${formatBytes(plan.peakBytes)}, ${median(timesMs).toFixed(0)} ms`);
      }
      models[model] = summarise(found);
    }
    const long = [true, false].map((areAlike) => planLongChain(isQuick ? 50 : 1000, areAlike));
    for (const { blocks, planMs } of long) log(`  a chain of ${blocks} blocks is planned in ${planMs.toFixed(0)} ms`);
    return { settings: { ...settings, noise: NOISE }, rows, summary: { models, longChains: long } };
  },
  tradeOffs: (rows) => {
    const [first] = Object.keys(benchModels);
    const of = rows.filter((r) => r.model === first);
    const named = of.map((r) => ({ name: r.plan as string, x: r.peakBytes as number, y: r.timeMs as number }));
    const adaptive = named.filter(({ name }) => name === "ml-adaptive").sort((a, b) => a.x - b.x);
    return {
      title: `What memory buys: ${first}, plans of ml-adaptive as steps`,
      xLabel: "peak memory",
      yLabel: "time of forward and backward",
      // Measured: one that needs more may take longer.
      front: { name: "ml-adaptive", points: adaptive.filter((a) => !adaptive.some((b) => b.x < a.x && b.y <= a.y)) },
      // Greedy plans lie near the steps, one for each of their budgets.
      points: named.filter(({ name }) => name !== "ml-adaptive" && name !== "greedy"),
      xBase: "binary",
      formatX: formatBytes,
      formatY: formatMs,
    };
  },
};

function summarise({ plans, toDisk, ...found }: MeasuredModel): Record<string, unknown> {
  const adaptive = plans.filter((p) => p.plan === "ml-adaptive");
  const greedy = plans.filter((p) => p.plan === "greedy");
  const stored = plans.find((p) => p.plan === "stored")!;
  const baselines = plans.filter((p) => p.budgetBytes === undefined && p !== stored);
  const against = Object.fromEntries(baselines.map((b) => [b.plan, comparison(b, adaptive)]));
  const leanest = adaptive.reduce((a, b) => (b.activationBytes < a.activationBytes ? b : a));
  return {
    against,
    againstStored: {
      activationReduction: 1 - leanest.activationBytes / stored.activationBytes,
      timeRatio: ratio(leanest, stored),
      timeRatioAtEightyPercent: atLeastReduced(adaptive, stored, 0.8),
    },
    disk: Object.fromEntries(toDisk.map((d) => [d.moved.plan, onDisk(d)])),
    againstGreedy: adaptive.map((a, i) => ratio(a, greedy[i]!)),
    largestGreedyRegret: Math.max(...found.greedyRegrets),
    medianErrorAfter20Steps: found.medianError,
    stepsOverBudget: found.stepsOverBudget,
    scheduledSteps: found.scheduledSteps,
    planningShare: found.planningShare,
  };
}

/** What a plan that goes to disk comes to, beside the one that keeps the same in memory. */
function onDisk({ moved, kept, traffic }: MeasuredOnDisk): Record<string, number> {
  const { bytes, mostStagedBytes, transferMs, waitedMs } = traffic;
  const passes = moved.timesMs.length;
  return {
    peakBytes: moved.peakBytes,
    inMemoryPeakBytes: kept.peakBytes,
    timeRatio: ratio(moved, kept),
    bytes: bytes / passes,
    mostStagedBytes,
    transferMs: transferMs / passes,
    hiddenShare: 1 - waitedMs / transferMs,
  };
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
