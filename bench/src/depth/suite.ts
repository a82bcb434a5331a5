import { formatBytes } from "@revnet-zero/plot";
import type { TrainingBackend } from "../backends.ts";
import { fitLine, median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import type { MemoryAnswer, StepAnswer } from "../trainee.ts";
import { type DepthMode, type DepthRequest, depthBuild, depthPlans } from "./configuration.ts";

/** The first step makes the optimizer's state, the second compiles what the first did not. */
const warmUpSteps = 2;

interface DepthRow {
  readonly mode: DepthMode;
  readonly blocks: number;
  readonly peakBytes: number;
  readonly predictedPeakBytes: number;
  readonly activationBytes: number;
  /** What another than the ledger counts: the process's resident bytes, or what the device's driver has given. */
  readonly outsideBytes: number;
  readonly timeMs: number;
  readonly timesMs: readonly number[];
}

/** Memory and time of a training step against depth, for every way to get activations back. */
export const depth: Suite = {
  about: "peak memory and time of a training step against the number of blocks",
  backends: ["cpu", "cuda"],
  run: async ({ isQuick, log, ...context }) => {
    const backend = context.backend as TrainingBackend;
    const { modes, isInTurn, ...plan } = depthPlans[backend];
    const depths = isQuick ? [2, 4] : plan.depths;
    const groups = isInTurn ? [modes] : modes.map((mode) => [mode]);
    const repeats = isQuick ? 2 : plan.repeats;
    const found: DepthRow[] = [];
    const rows: Row[] = [];
    for (const blocks of depths) {
      for (const group of groups) {
        const requests = group.map((mode): DepthRequest => ({ backend, mode, blocks, isQuick }));
        for (const { row, columns } of await measureDepth(requests, repeats)) {
          found.push(row);
          rows.push({ backend, ...columns });
          log(`  ${row.mode}, ${blocks} blocks: ${describe(row)}`);
        }
      }
    }
    const { build } = depthBuild({ backend, mode: "store", blocks: depths[0]!, isQuick });
    const { dModel, numHeads, mlpRatio, vocabSize } = build.model;
    const { batchSize, sequenceLength } = build.train;
    const sizes = { depths, dModel, numHeads, mlpRatio, vocabSize: vocabSize ?? 256, batchSize, sequenceLength };
    return {
      settings: { ...sizes, optimizer: "adamw", warmUpSteps, isInTurn },
      rows,
      summary: summarise(found, modes, depths),
    };
  },
  chart: (rows) => ({
    title: "Activation memory of a training step",
    xLabel: "blocks",
    yLabel: "bytes at the peak that are not parameters, gradients or optimizer state",
    yBase: "binary",
    yFrom: 0,
    formatY: formatBytes,
    series: [...new Set(rows.map((r) => r.mode as string))].map((mode) => ({
      name: mode,
      points: rows
        .filter((r) => r.mode === mode)
        .map((r) => ({ x: r.blocks as number, y: r.activationBytes as number })),
    })),
  }),
};

const describe = ({ peakBytes, activationBytes, outsideBytes, timeMs }: DepthRow): string =>
  `${formatBytes(peakBytes)} (activations ${formatBytes(activationBytes)}, counted outside ${formatBytes(outsideBytes)}), ${timeMs.toFixed(0)} ms`;

/** One process a mode, asked in turn. */
async function measureDepth(
  requests: readonly DepthRequest[],
  repeats: number,
): Promise<{ row: DepthRow; columns: Row }[]> {
  const subjects = requests.map(({ mode }) => Subject.node(`depth ${mode}`, new URL("../trainee.ts", import.meta.url)));
  try {
    await Promise.all(subjects.map((s, i) => s.ask(depthBuild(requests[i]!))));
    const times = requests.map((): number[] => []);
    for (let step = 0; step < warmUpSteps + repeats; step++) {
      for (const [i, subject] of subjects.entries()) {
        const { timeMs } = await subject.ask<StepAnswer>({ step });
        if (step >= warmUpSteps) times[i]!.push(timeMs);
      }
    }
    const found: { row: DepthRow; columns: Row }[] = [];
    for (const [i, subject] of subjects.entries()) {
      const { mode, blocks } = requests[i]!;
      const { atPeak, residentBytes, driverBytes, ...figures } = await subject.ask<MemoryAnswer>({ report: true });
      const outside = driverBytes === undefined ? { residentBytes } : { driverBytes };
      const dtype = depthBuild(requests[i]!).build.train.precision;
      const categories = Object.fromEntries(Object.entries(atPeak).map(([name, bytes]) => [`${name}Bytes`, bytes]));
      const time = timeColumns(times[i]!);
      found.push({
        row: {
          ...{ mode, blocks, ...figures, outsideBytes: driverBytes ?? residentBytes },
          ...{ timeMs: time.timeMs, timesMs: times[i]! },
        },
        columns: { dtype, mode, blocks, ...figures, ...outside, ...categories, ...time },
      });
    }
    return found;
  } finally {
    for (const subject of subjects) await subject.end();
  }
}

function summarise(
  found: readonly DepthRow[],
  modes: readonly DepthMode[],
  depths: readonly number[],
): Record<string, unknown> {
  const of = (mode: DepthMode): DepthRow[] => found.filter((row) => row.mode === mode);
  const line = (mode: DepthMode, pick: (row: DepthRow) => number) =>
    fitLine(of(mode).map((row) => [row.blocks, pick(row)] as const));
  const exact = of("reversible-exact");
  const stored = line("store", (row) => row.activationBytes);
  const perMode = <T>(f: (mode: DepthMode) => T): Record<string, T> =>
    Object.fromEntries(modes.map((mode) => [mode, f(mode)]));
  return {
    exactActivationGrowth: exact.at(-1)!.activationBytes / exact[0]!.activationBytes - 1,
    storedActivationBytesPerBlock: stored.slope,
    storedActivationDeviationFromLine: stored.largestDeviation,
    peakOverPredicted: [
      Math.min(...found.map((r) => r.peakBytes / r.predictedPeakBytes)),
      Math.max(...found.map((r) => r.peakBytes / r.predictedPeakBytes)),
    ],
    outsideSlopeOverLedgerSlope: perMode(
      (mode) => line(mode, (row) => row.outsideBytes).slope / line(mode, (row) => row.peakBytes).slope,
    ),
    outsideOverLedger: perMode((mode) => of(mode).map((row) => row.outsideBytes / row.peakBytes)),
    timeOverStore: perMode((mode) =>
      Object.fromEntries(depths.map((blocks, i) => [blocks, pairedRatio(of(mode)[i]!, of("store")[i]!)])),
    ),
  };
}

/** Median of the ratios of steps that ran one after the other. */
const pairedRatio = (ours: DepthRow, theirs: DepthRow): number =>
  median(ours.timesMs.map((timeMs, i) => timeMs / theirs.timesMs[i]!));
