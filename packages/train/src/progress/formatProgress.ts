import { formatBytes, formatCount, formatDuration, formatFigure } from "@revnet-zero/plot";

/** How far training is; what is not known is left out of the line. */
export interface ProgressState {
  /** Steps done. */
  readonly step: number;
  readonly totalSteps: number;
  /** Mean cross-entropy in nats per byte. */
  readonly loss?: number;
  /** The same on held-out text, as last measured. */
  readonly heldOutLoss?: number;
  readonly learningRate?: number;
  /** Of the whole gradient, before clipping. */
  readonly gradientNorm?: number;
  readonly tokensPerSecond?: number;
  readonly remainingMs?: number;
  readonly peakBytes?: number;
}

/** What a line shows, in order; the lower the number, the longer it stays when the line must become shorter. */
const parts: readonly { readonly rank: number; readonly text: (state: ProgressState) => string | undefined }[] = [
  { rank: 0, text: ({ step, totalSteps }) => `${String(step).padStart(String(totalSteps).length)}/${totalSteps}` },
  { rank: 4, text: ({ step, totalSteps }) => `${String(Math.floor(share(step, totalSteps) * 100)).padStart(3)}%` },
  { rank: 1, text: ({ loss }) => ifKnown(loss, (value) => `loss ${value.toFixed(3)}`) },
  { rank: 3, text: ({ loss }) => ifKnown(loss, (value) => `${(value / Math.LN2).toFixed(3)} bits/byte`) },
  { rank: 6, text: ({ heldOutLoss }) => ifKnown(heldOutLoss, (value) => `held-out ${value.toFixed(3)}`) },
  { rank: 9, text: ({ learningRate }) => ifKnown(learningRate, (value) => `lr ${formatFigure(value)}`) },
  { rank: 10, text: ({ gradientNorm }) => ifKnown(gradientNorm, (value) => `grad ${formatFigure(value)}`) },
  { rank: 7, text: ({ tokensPerSecond }) => ifKnown(tokensPerSecond, (value) => `${formatCount(value)} tok/s`) },
  { rank: 8, text: ({ peakBytes }) => ifKnown(peakBytes, (value) => `peak ${formatBytes(value)}`) },
  { rank: 2, text: ({ remainingMs }) => ifKnown(remainingMs, (value) => `ETA ${formatDuration(value)}`) },
];

/** The bar comes first in the line, and leaves between the percentage and the held-out loss. */
const barRank = 5;
const barColumns = { least: 8, most: 24 };

/**
 * One line on the state of training, at most `width` columns long: the least important parts leave first.
 *
 * @param width columns; without it everything is shown, and no bar: a line for a log file.
 *
 * ```ts
 * import { formatProgress } from "@revnet-zero/train";
 * formatProgress({ step: 250, totalSteps: 1000, loss: 1.386, tokensPerSecond: 12_345, remainingMs: 192_000 });
 * // => " 250/1000   25%  loss 1.386  2.000 bits/byte  12.3k tok/s  ETA 3m 12s"
 * ```
 */
export function formatProgress(state: ProgressState, width?: number): string {
  const known = parts.flatMap(({ rank, text }) => {
    const written = text(state);
    return written === undefined ? [] : [{ rank, written }];
  });
  const join = (highest: number): string =>
    known.flatMap(({ rank, written }) => (rank <= highest ? [written] : [])).join("  ");
  if (width === undefined) return join(Number.POSITIVE_INFINITY);
  for (let highest = parts.length; highest > 0; highest--) {
    const line = join(highest);
    const room = width - line.length - 2;
    if (highest < barRank && line.length <= width) return line;
    if (highest >= barRank && room >= barColumns.least)
      return `${bar(state, Math.min(room, barColumns.most))}  ${line}`;
  }
  return join(0).slice(0, Math.max(0, width));
}

/** A bar of eighths of a column. */
function bar({ step, totalSteps }: ProgressState, columns: number): string {
  const eighths = Math.floor(share(step, totalSteps) * columns * 8);
  const full = Math.floor(eighths / 8);
  const partial = eighths % 8 === 0 ? "" : (" ▏▎▍▌▋▊▉"[eighths % 8] ?? "");
  return `${"█".repeat(full)}${partial}`.padEnd(columns, "·");
}

/** 0 to 1, for any two numbers. */
function share(step: number, totalSteps: number): number {
  return totalSteps > 0 ? Math.min(1, Math.max(0, step / totalSteps)) : 1;
}

function ifKnown(value: number | undefined, write: (value: number) => string): string | undefined {
  return value === undefined ? undefined : write(value);
}
