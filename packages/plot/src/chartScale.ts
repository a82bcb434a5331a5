/** Where values lie along an axis. */
export interface ChartScale {
  /** 0 at the beginning of the axis, 1 at its end; outside for values beyond. */
  readonly place: (value: number) => number;
  /** Values to mark, from the first to the last, all on the axis. */
  readonly ticks: readonly number[];
}

export interface ChartScaleOptions {
  /** Equal ratios are equally far apart; only values above 0 have a place. */
  readonly isLog?: boolean;
  /** Ticks at 1, 2 or 5 times a power of ten, or at powers of two (for bytes). */
  readonly base?: "decimal" | "binary";
  /** About how many ticks. */
  readonly count?: number;
}

/** An axis from a round value at or below the least to one at or above the greatest. Never empty, for any finite values. */
export function chartScale(least: number, greatest: number, options: ChartScaleOptions = {}): ChartScale {
  const { isLog = false, base = "decimal", count = 6 } = options;
  return isLog ? logScale(least, greatest, base, count) : linearScale(least, greatest, base, count);
}

function linearScale(least: number, greatest: number, base: "decimal" | "binary", count: number): ChartScale {
  // All values equal: give them some room.
  const spread = greatest - least || Math.abs(greatest) || 1;
  const step = niceStep(spread / count, base);
  const first = Math.floor(least / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(greatest / step - 1e-9));
  // Multiples, not sums: 0.1 + 0.2 would be written 0.30000000000000004.
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  const [start, end] = [first * step, last * step];
  return { place: (value) => (value - start) / (end - start), ticks };
}

function logScale(least: number, greatest: number, base: "decimal" | "binary", count: number): ChartScale {
  const radix = base === "binary" ? 2 : 10;
  const log = (value: number): number => Math.log(value) / Math.log(radix);
  const first = Math.floor(log(least) + 1e-9);
  const powers = Math.max(1, Math.ceil(log(greatest) - 1e-9) - first);
  const every = Math.ceil(powers / count);
  const last = first + Math.ceil(powers / every) * every;
  // One or two decades have room for their 2 and 5.
  const between = radix === 10 && last - first <= 2 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let power = first; power < last; power += every) for (const part of between) ticks.push(part * radix ** power);
  ticks.push(radix ** last);
  return { place: (value) => (log(value) - first) / (last - first), ticks };
}

/** The least round step that is not below `step`. */
function niceStep(step: number, base: "decimal" | "binary"): number {
  if (base === "binary") return 2 ** Math.ceil(Math.log2(step) - 1e-9);
  const power = 10 ** Math.floor(Math.log10(step));
  return power * ([1, 2, 5].find((part) => part * power >= step * (1 - 1e-9)) ?? 10);
}
