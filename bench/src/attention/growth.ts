import { fitLine, median } from "../statistics.ts";

export interface Measured {
  readonly mechanism: string;
  readonly tokens: number;
  readonly times: readonly number[];
  readonly bytesPerToken: number;
}

/**
 * How time grows from 4096 tokens on: the exponent p of t = c · n^p, beside that of n log n over the same lengths; and t / n = a + b log2 n by
 * least squares, with the largest distance of a length from that line.
 */
export function growthOf(measured: readonly Measured[]) {
  const long = measured.filter(({ tokens }) => tokens >= 4096);
  const points = (long.length > 2 ? long : measured).map(({ tokens, times }) => [tokens, median(times)] as const);
  const exponent = (f: (n: number, t: number) => number): number =>
    fitLine(points.map(([n, t]) => [Math.log(n), Math.log(f(n, t))])).slope;
  const line = fitLine(points.map(([n, t]) => [Math.log2(n), (1e6 * t) / n]));
  return {
    exponent: exponent((_, t) => t),
    exponentOfNLogN: exponent((n) => n * Math.log2(n)),
    nanosecondsPerToken: { intercept: line.intercept, perDoubling: line.slope, deviation: line.largestDeviation },
    from: points[0]![0],
    to: points.at(-1)![0],
    bytesPerToken: [measured[0]!.bytesPerToken, measured.at(-1)!.bytesPerToken],
  };
}
