import { type DType, numel, type Shape } from "@revnet-zero/tensor";
import { floatLimits, rounded } from "./values.ts";

// Tolerances are relative to what a plain implementation gets wrong itself, never a bare constant.
// Source: Dao et al. 2022 (arXiv:2205.14135), whose kernels are held to a multiple of the plain version's error.

export interface Comparison {
  /** The result in float64. */
  readonly exact: ArrayLike<number>;
  /** What a plain implementation in `dtype` gives: its distance from `exact` is the yardstick. */
  readonly naive?: ArrayLike<number>;
  /** Size of the terms that were added, one for all or one an element. Default: the largest exact value. */
  readonly scale?: number | ArrayLike<number>;
  readonly dtype: DType;
  /** How many times the yardstick is allowed. Default 4. */
  readonly factor?: number;
}

/** Allowed absolute error of every element: factor · (largest naive error + roundoff · scale). */
export function allowedErrors({ exact, naive, scale, dtype, factor = 4 }: Comparison): Float64Array {
  const { unit, smallest } = limitsOf(dtype);
  const yardstick = naive === undefined ? 0 : largest(exact.length, (i) => Math.abs(naive[i]! - exact[i]!));
  const most = scale ?? largest(exact.length, (i) => Math.abs(exact[i]!));
  return Float64Array.from(
    { length: exact.length },
    (_, i) => factor * (yardstick + 2 * unit * (typeof most === "number" ? most : finite(most[i]!)) + smallest),
  );
}

const finite = (v: number): number => (Number.isFinite(v) ? Math.abs(v) : 0);

function largest(n: number, at: (i: number) => number): number {
  let most = 0;
  for (let i = 0; i < n; i++) most = Math.max(most, finite(at(i)));
  return most;
}

function limitsOf(dtype: DType): { readonly largest: number; readonly smallest: number; readonly unit: number } {
  const limits = floatLimits[dtype];
  if (limits === undefined) throw new Error(`${dtype} has no tolerance: integers are compared exactly`);
  return limits;
}

/**
 * Where `actual` leaves the tolerance, as a sentence; undefined where it does not. NaN answers NaN, an infinity the
 * same infinity (or a finite number within tolerance of overflow).
 */
export function firstExcess(
  actual: ArrayLike<number>,
  exact: ArrayLike<number>,
  allowed: ArrayLike<number>,
  dtype: DType,
  shape?: Shape,
): string | undefined {
  if (actual.length !== exact.length) return `${actual.length} elements, expected ${exact.length}`;
  const limits = limitsOf(dtype);
  for (let i = 0; i < actual.length; i++) {
    const [got, want, limit] = [actual[i]!, exact[i]!, allowed[i]!];
    if (isWithin(got, want, limit, dtype, limits.largest)) continue;
    const error = Math.abs(got - want);
    return `element ${position(i, shape)} is ${got}, expected ${want}: error ${error.toExponential(2)}, limit ${limit.toExponential(2)}`;
  }
  return undefined;
}

function isWithin(got: number, want: number, limit: number, dtype: DType, largest: number): boolean {
  if (Number.isNaN(want)) return Number.isNaN(got);
  if (got === want || got === rounded(want, dtype)) return true;
  if (Math.abs(got - want) <= limit) return true;
  return Math.abs(got) === Number.POSITIVE_INFINITY && Math.sign(got) * want + limit > largest;
}

/** `[1, 2]` of a flat position. */
export function position(i: number, shape: Shape | undefined): string {
  if (shape === undefined || shape.length === 0) return String(i);
  const index = shape.map((s, d) => Math.floor(i / numel(shape.slice(d + 1))) % s);
  return `[${index.join(", ")}]`;
}

/** Throws where `actual` is further from the float64 result than the tolerance rule allows. */
export function expectClose(actual: ArrayLike<number>, comparison: Comparison, what = "values"): void {
  const { exact, dtype } = comparison;
  const excess = firstExcess(actual, exact, allowedErrors(comparison), dtype);
  if (excess !== undefined) throw new Error(`${what} differ: ${excess}`);
}
