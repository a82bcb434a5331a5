import { hosts, readReport, table } from "./report.ts";

// The tables of docs/memory.md that come from the suites `scheduler` and `regret`, so that no figure is typed by hand.

interface Comparison {
  readonly peakAtNoMoreTime: number | null;
  readonly timeAtNoMorePeak: number | null;
}

interface ModelSummary {
  readonly against: Readonly<Record<string, Comparison>>;
  readonly againstStored: {
    readonly activationReduction: number;
    readonly timeRatio: number;
    readonly timeRatioAtEightyPercent: number | null;
  };
  readonly disk: Readonly<Record<string, DiskSummary>>;
  readonly againstGreedy: readonly number[];
  readonly largestGreedyRegret: number;
  readonly medianErrorAfter20Steps: number | null;
  readonly stepsOverBudget: number;
  readonly scheduledSteps: number;
  readonly planningShare: number;
}

interface DiskSummary {
  readonly peakBytes: number;
  readonly inMemoryPeakBytes: number;
  readonly timeRatio: number;
  readonly bytes: number;
  readonly mostStagedBytes: number;
  readonly transferMs: number;
  readonly hiddenShare: number;
}

function summaryOf<T>(suite: string): T | undefined {
  for (const host of hosts()) {
    const found = readReport(host, suite);
    if (found !== undefined) return found.summary as unknown as T;
  }
  return undefined;
}

const percent = (value: number | null, digits = 0): string =>
  value === null ? "none" : `${(100 * value).toFixed(digits)} %`;
const change = (value: number | null): string => (value === null ? "none" : `${value > 0 ? "+" : ""}${percent(value)}`);

/** What ml-adaptive does where plans of one policy sit, model by model. */
export function schedulersTable(): string {
  const found = summaryOf<{ readonly models: Readonly<Record<string, ModelSummary>> }>("scheduler");
  if (found === undefined) return "";
  const models = Object.entries(found.models);
  const baselines = Object.keys(models[0]![1].against);
  const both = ({ peakAtNoMoreTime, timeAtNoMorePeak }: Comparison): string =>
    `${change(peakAtNoMoreTime)}, ${change(timeAtNoMorePeak)}`;
  return table(
    ["model", ...baselines, "stored: activations, time", "steps over budget"],
    models.map(([name, { against, againstStored, stepsOverBudget, scheduledSteps }]) => [
      name,
      ...baselines.map((b) => both(against[b]!)),
      `-${percent(againstStored.activationReduction)}, x ${againstStored.timeRatio.toFixed(2)}`,
      `${stepsOverBudget} of ${scheduledSteps}`,
    ]),
  );
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** Plans that go to disk, beside those that keep the same in memory. */
export function diskTable(): string {
  const found = summaryOf<{ readonly models: Readonly<Record<string, ModelSummary>> }>("scheduler");
  if (found === undefined) return "";
  const head = ["model, and what is where", "peak", "time", "moved in a pass", "on its way, at most", "not waited for"];
  const rows = Object.entries(found.models).flatMap(([name, { disk = {} }]) =>
    Object.entries(disk).map(([plan, d]) => [
      `${name}: ${plan}`,
      `${mebibytes(d.peakBytes)} MiB instead of ${mebibytes(d.inMemoryPeakBytes)}`,
      `x ${d.timeRatio.toFixed(2)}`,
      `${mebibytes(d.bytes)} MiB out and back`,
      `${mebibytes(d.mostStagedBytes)} MiB`,
      percent(d.hiddenShare),
    ]),
  );
  return rows.length === 0 ? "" : table(head, rows);
}

/** The scheduler's own figures, model by model. */
export function learningTable(): string {
  const found = summaryOf<{ readonly models: Readonly<Record<string, ModelSummary>> }>("scheduler");
  if (found === undefined) return "";
  return table(
    [
      "model",
      "error of block times",
      "time over greedy plans",
      "regret of greedy plans, at most",
      "planning over a pass",
    ],
    Object.entries(found.models).map(([name, m]) => [
      name,
      percent(m.medianErrorAfter20Steps, 1),
      `${Math.min(...m.againstGreedy).toFixed(2)} to ${Math.max(...m.againstGreedy).toFixed(2)}`,
      percent(m.largestGreedyRegret, 2),
      percent(m.planningShare),
    ]),
  );
}

interface RegretSummary {
  readonly cumulativeRegret: number;
  readonly largestCumulativeRegret: number;
  readonly medianErrorAfter20Steps: number;
  readonly regretBeforeChange: number;
  readonly regretAtChange: number;
  readonly regretFrom20StepsAfterChange: number;
  readonly stepsOverBudget: number;
}

/** Strategies against costs that are known. */
export function regretTable(): string {
  const found = summaryOf<Readonly<Record<string, RegretSummary>>>("regret");
  if (found === undefined) return "";
  return table(
    [
      "times",
      "regret of 50 steps together (largest)",
      "of step 50",
      "when costs change",
      "20 to 25 steps after",
      "error after 20 steps",
      "steps over budget",
    ],
    Object.entries(found).map(([name, r]) => [
      `\`${name}\``,
      `${percent(r.cumulativeRegret, 2)} (${percent(r.largestCumulativeRegret, 1)})`,
      percent(r.regretBeforeChange, 2),
      percent(r.regretAtChange, 1),
      percent(r.regretFrom20StepsAfterChange, 2),
      percent(r.medianErrorAfter20Steps, 1),
      String(r.stepsOverBudget),
    ]),
  );
}
