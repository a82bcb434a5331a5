import { type DType, dtypes, fromBf16, fromF16, isFloat, toWords } from "@revnet-zero/tensor";
import type { Random } from "./seed.ts";

/**
 * "smooth": apart from one another and from zero, so that extrema, sorting and kinks are differentiable there;
 * "plain": everyday numbers with ties and whole numbers among them; "extreme": NaN, infinities, zeros of both signs,
 * subnormals, the largest; "special": the same without the large magnitudes, whose sums would depend on the order.
 */
export type ValueKind = "smooth" | "plain" | "extreme" | "special";

export type Interval = readonly [number, number];

/** What a dtype makes of a number. */
export function rounded(value: number, dtype: DType): number {
  const [word] = toWords([value], dtype);
  return dtype === "bf16" ? fromBf16(word!) : dtype === "f16" ? fromF16(word!) : word!;
}

interface FloatLimits {
  readonly largest: number;
  readonly smallestNormal: number;
  readonly smallest: number;
  /** Largest relative error of one rounding. */
  readonly unit: number;
}

/** Of the floating types: range, subnormals and unit roundoff. */
export const floatLimits: Readonly<Record<string, FloatLimits>> = {
  f64: { largest: Number.MAX_VALUE, smallestNormal: 2 ** -1022, smallest: Number.MIN_VALUE, unit: 2 ** -53 },
  f32: { largest: 3.4028234663852886e38, smallestNormal: 2 ** -126, smallest: 2 ** -149, unit: 2 ** -24 },
  bf16: { largest: 3.3895313892515355e38, smallestNormal: 2 ** -126, smallest: 2 ** -133, unit: 2 ** -8 },
  f16: { largest: 65504, smallestNormal: 2 ** -14, smallest: 2 ** -24, unit: 2 ** -11 },
};

const everyday: Interval = [-2, 2];

/** `count` values of a dtype. Smooth ones of one sample share `cells`, a permutation that keeps them all apart. */
export function drawValues(
  random: Random,
  count: number,
  dtype: DType,
  kind: ValueKind,
  { domain, cells }: { readonly domain?: Interval | undefined; readonly cells?: number[] | undefined } = {},
): Float64Array {
  const draw = isFloat(dtype) ? drawFloat : dtype === "bool" ? drawBool : drawInteger;
  return Float64Array.from({ length: count }, () => rounded(draw(random, dtype, kind, domain, cells), dtype));
}

const drawBool = (random: Random): number => random.integer(0, 1);

function drawInteger(random: Random, dtype: DType, kind: ValueKind, domain: Interval | undefined): number {
  const [low, high] = dtypes[dtype].range!;
  if (domain !== undefined) return random.integer(Math.max(low, domain[0]), Math.min(high, domain[1]));
  if (kind === "extreme" || kind === "special") return random.pick([low, low + 1, -1, 0, 1, high - 1, high]);
  return random.unit() < 0.5 ? random.integer(Math.max(low, -9), 9) : random.integer(low, high);
}

function drawFloat(
  random: Random,
  dtype: DType,
  kind: ValueKind,
  domain: Interval = everyday,
  cells: number[] | undefined = undefined,
): number {
  const [low, high] = domain;
  if (kind === "smooth" && cells !== undefined) {
    const total = cells.length;
    // The middle of a cell of its own, give or take: zero lies between two cells, because their number is even.
    return low + ((high - low) * (nextCell(cells) + 0.5 + random.between(-0.25, 0.25))) / total;
  }
  if ((kind === "extreme" || kind === "special") && random.unit() < 0.6) {
    return random.pick(kind === "extreme" ? extremes(dtype) : specials(dtype));
  }
  if (kind === "extreme") return random.between(low, high) * 10 ** random.integer(-30, 30);
  if (random.unit() < 0.15) return clamp(random.integer(-4, 4) / 2, domain);
  return random.between(low, high);
}

/** Cells are taken from a list that wraps around: its first entry moves to the end. */
function nextCell(cells: number[]): number {
  const cell = cells.shift()!;
  cells.push(cell);
  return cell;
}

const clamp = (v: number, [low, high]: Interval): number => Math.min(Math.max(v, low), high);

function specials(dtype: DType): number[] {
  const { smallest, smallestNormal } = floatLimits[dtype]!;
  const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
  return [nan, inf, -inf, 0, -0, smallest, -smallestNormal, 1, -1, 30, -30];
}

function extremes(dtype: DType): number[] {
  const { largest, unit } = floatLimits[dtype]!;
  const halves = [0.5, -0.5, 1.5, 2.5, -2.5, 1 - unit, 1 + 2 * unit];
  const edges = [largest, -largest, 2 ** 31, -(2 ** 31), 2 ** 31 - 128, 2 ** 24 + 1, 255, 256, -129, 32768];
  return [...specials(dtype), ...halves, ...edges];
}
