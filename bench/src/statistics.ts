/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** By linear interpolation between order statistics. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError("quantile: no values");
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  return below + (place - Math.floor(place)) * (sorted[Math.ceil(place)]! - below);
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Standard deviation of a sample, n - 1 in the denominator. */
export function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1));
}

/** Repeated times as columns: the median under the plain name, and how much to trust it. */
export function timeColumns(timesMs: readonly number[]): {
  timeMs: number;
  timeMsMinimum: number;
  timeMsSpread: number;
  repeats: number;
} {
  const middle = median(timesMs);
  return {
    timeMs: middle,
    timeMsMinimum: Math.min(...timesMs),
    /** Interquartile range over the median. */
    timeMsSpread: (quantile(timesMs, 0.75) - quantile(timesMs, 0.25)) / middle,
    repeats: timesMs.length,
  };
}

export interface Line {
  readonly slope: number;
  readonly intercept: number;
  /** Largest distance of a point from the line, over the largest y. */
  readonly largestDeviation: number;
}

/** The least-squares line through points. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line {
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const slope =
    points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  const intercept = my - slope * mx;
  const off = points.map(([x, y]) => Math.abs(y - (intercept + slope * x)));
  return { slope, intercept, largestDeviation: Math.max(...off) / Math.max(...points.map(([, y]) => Math.abs(y))) };
}
