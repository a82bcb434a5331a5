import { formatBytes, formatCount, formatDuration, groupDigits } from "@revnet-zero/plot";
import type { ReportData } from "./reportData.ts";

/** One large figure at the top of a report. */
export interface HeadlineFigure {
  readonly value: string;
  readonly label: string;
  readonly note: string;
  readonly isBad?: boolean;
}

/** What there is to be proud of, or to worry about; taken from the data, so that it cannot say something else. */
export function headlineFigures({ run, loss, memory, exactness }: ReportData): HeadlineFigure[] {
  const figures: HeadlineFigure[] = [];
  const lowest = loss.heldOut.reduce((best, { y }) => Math.min(y, best), Number.POSITIVE_INFINITY);
  if (Number.isFinite(lowest)) {
    const gain = loss.bigramBits === undefined ? undefined : loss.bigramBits - lowest;
    figures.push({
      value: lowest.toFixed(3),
      label: "bits per byte, held-out",
      note:
        gain === undefined
          ? "the lowest of the run"
          : `${Math.abs(gain).toFixed(2)} ${gain >= 0 ? "better" : "worse"} than counted byte pairs`,
      isBad: gain !== undefined && gain < 0,
    });
  }
  const deepest = memory?.points.reduce((a, b) => (b.depth > a.depth ? b : a), memory.points[0]!);
  if (deepest !== undefined) {
    const ratio = deepest.storedBytes / deepest.reversibleBytes;
    figures.push({
      value: `${ratio.toFixed(ratio < 10 ? 1 : 0)}\u00d7`,
      label: "less activation memory",
      note: `${deepest.depth} blocks: ${formatBytes(deepest.reversibleBytes)} instead of ${formatBytes(deepest.storedBytes)}`,
      isBad: ratio < 1,
    });
  }
  if (exactness !== undefined && exactness.rows.length > 0) {
    const failed = exactness.rows.filter((row) => !(row.isGradientBitEqual && row.isReconstructionBitEqual)).length;
    const compared = exactness.rows.reduce((sum, row) => sum + row.elementsCompared, 0);
    figures.push({
      value: failed === 0 ? "0 bits" : `${failed} of ${exactness.rows.length}`,
      label: failed === 0 ? "differ from stored gradients" : "checks found a difference",
      note: `${groupDigits(compared)} numbers compared`,
      isBad: failed > 0,
    });
  }
  // A finished run that is resumed does none.
  if (run.steps === 0) return figures;
  figures.push({
    value: formatCount(run.tokensPerSecond),
    label: "bytes of text a second",
    note: `${groupDigits(run.steps)} steps in ${formatDuration(run.durationMs)}, ${formatCount(run.parameters)} parameters`,
  });
  return figures;
}
