import { CpuBackend } from "@revnet-zero/backend-cpu";
import { formatBytes } from "@revnet-zero/plot";
import { estimateStep } from "@revnet-zero/train";
import { fitLine, median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import type { MemoryAnswer } from "../trainee.ts";
import { type DepthMode, type DepthRequest, depthConfig, depthModes } from "./configuration.ts";

const modes = Object.keys(depthModes) as DepthMode[];
/** The first step makes the optimizer's state, the second compiles what the first did not. */
const warmUpSteps = 2;

interface DepthRow {
  readonly mode: DepthMode;
  readonly blocks: number;
  readonly peakBytes: number;
  readonly predictedPeakBytes: number;
  readonly activationBytes: number;
  readonly residentBytes: number;
  readonly timeMs: number;
  readonly timesMs: readonly number[];
}

/** Memory and time of a training step against depth, for every way to get activations back. */
export const depth: Suite = {
  about: "peak memory and time of a training step against the number of blocks",
  run: async ({ isQuick, log, backend }) => {
    const depths = isQuick ? [2, 4] : [6, 12, 24, 48, 96];
    const repeats = isQuick ? 2 : 5;
    const found: DepthRow[] = [];
    const rows: Row[] = [];
    for (const blocks of depths) {
      for (const { row, columns } of await measureDepth(blocks, isQuick, repeats)) {
        found.push(row);
        rows.push({ backend, dtype: "f32", ...columns });
        log(`  ${row.mode}, ${blocks} blocks: ${formatBytes(row.peakBytes)}, ${row.timeMs.toFixed(0)} ms`);
      }
    }
    const { model, train } = depthConfig({ mode: "store", blocks: depths[0]!, isQuick });
    const { dModel, numHeads, mlpRatio } = model;
    const { batchSize, sequenceLength } = train;
    return {
      settings: { depths, dModel, numHeads, mlpRatio, batchSize, sequenceLength, optimizer: "adamw", warmUpSteps },
      rows,
      summary: summarise(found, depths),
    };
  },
  chart: (rows) => ({
    title: "Activation memory of a training step",
    xLabel: "blocks",
    yLabel: "bytes at the peak that are not parameters, gradients or optimizer state",
    yBase: "binary",
    yFrom: 0,
    formatY: formatBytes,
    series: modes.map((mode) => ({
      name: mode,
      points: rows
        .filter((r) => r.mode === mode)
        .map((r) => ({ x: r.blocks as number, y: r.activationBytes as number })),
    })),
  }),
};

/** One process a mode, asked in turn. */
async function measureDepth(
  blocks: number,
  isQuick: boolean,
  repeats: number,
): Promise<{ row: DepthRow; columns: Row }[]> {
  const requests = modes.map((mode): DepthRequest => ({ mode, blocks, isQuick }));
  const subjects = modes.map((mode) => Subject.node(`depth ${mode}`, new URL("../trainee.ts", import.meta.url)));
  try {
    await Promise.all(subjects.map((s, i) => s.ask({ build: depthConfig(requests[i]!) })));
    const times = modes.map((): number[] => []);
    for (let step = 0; step < warmUpSteps + repeats; step++) {
      for (const [i, subject] of subjects.entries()) {
        const { timeMs } = await subject.ask<{ timeMs: number }>({ step });
        if (step >= warmUpSteps) times[i]!.push(timeMs);
      }
    }
    const found: { row: DepthRow; columns: Row }[] = [];
    for (const [i, subject] of subjects.entries()) {
      const { isQuick: _, ...request } = requests[i]!;
      const memory = await subject.ask<MemoryAnswer>({ report: true });
      const { peakBytes, activationBytes, residentBytes, atPeak } = memory;
      const predictedPeakBytes = estimateStep(depthConfig(requests[i]!), new CpuBackend()).peakBytes;
      const figures = { peakBytes, predictedPeakBytes, activationBytes, residentBytes };
      const categories = Object.fromEntries(Object.entries(atPeak).map(([name, bytes]) => [`${name}Bytes`, bytes]));
      const time = timeColumns(times[i]!);
      found.push({
        row: { ...request, ...figures, timeMs: time.timeMs, timesMs: times[i]! },
        columns: { ...request, ...figures, ...categories, ...time },
      });
    }
    return found;
  } finally {
    for (const subject of subjects) subject[Symbol.dispose]();
  }
}

function summarise(found: readonly DepthRow[], depths: readonly number[]): Record<string, unknown> {
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
    residentSlopeOverLedgerSlope: perMode(
      (mode) => line(mode, (row) => row.residentBytes).slope / line(mode, (row) => row.peakBytes).slope,
    ),
    timeOverStore: perMode((mode) =>
      Object.fromEntries(depths.map((blocks, i) => [blocks, pairedRatio(of(mode)[i]!, of("store")[i]!)])),
    ),
  };
}

/** Median of the ratios of steps that ran one after the other. */
const pairedRatio = (ours: DepthRow, theirs: DepthRow): number =>
  median(ours.timesMs.map((timeMs, i) => timeMs / theirs.timesMs[i]!));
