import { f32x4, i32x4, v128 } from "../assembler/index.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

// Float32 functions on vectors, within the errors that test/functions.test.ts states and measures over all magnitudes.
// Reduction: Cody & Waite 1980; coefficients of log and tanh: the Cephes library (Moshier 1989); of exp and erf: minimax fits.

/** 1.5 · 2^23: the last bits of its sum with a small number are that number, rounded. */
const MAGIC = 12582912;

/** x = n·ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts so that r is exact: n's bits end those of `shifted`, which begin above bit 21. */
function reduce(v: VectorCode, x: Vectors): { readonly shifted: Vectors; readonly r: Vectors } {
  const magic = v.float(MAGIC);
  const shifted = v.madd(x, v.float(Math.LOG2E), magic);
  const n = v.sub(shifted, magic);
  const r = v.nmadd(n, v.float(-2.1219444e-4), v.nmadd(n, v.float(0.693359375), x));
  return { shifted, r };
}

/** e^r - 1 - r over r², |r| <= 0.35, within 3.1e-9 of e^r: minimax, highest power first. */
const exponential = [0.00138145401768, 0.00836874510894, 0.0416683907835, 0.16666520399, 0.499999934321] as const;

/** The same with r² at hand: shorter chains of additions than power after power. */
function overSquare(v: VectorCode, r: Vectors, r2: Vectors, [a, b, c, d, e]: typeof exponential): Vectors {
  const [low, high] = [v.madd(r, v.float(d), v.float(e)), v.madd(r, v.float(b), v.float(c))];
  return v.madd(v.madd(v.float(a), r2, high), r2, low);
}

/** The bits of 1: its exponent. */
const ONE = 127 << 23;

/** 2^n, -126 <= n <= 127. */
const power = (v: VectorCode, shifted: Vectors): Vectors =>
  v.binary(i32x4.add, v.shift(i32x4.shl, shifted, 23), v.int(ONE));

/** Exponents of 2^h and 2^n, without that of 1, for h the whole half of n. */
function exponents(v: VectorCode, shifted: Vectors): { readonly half: Vectors; readonly whole: Vectors } {
  const doubled = v.shift(i32x4.shl, shifted, 22);
  const half = v.binary(v128.and, doubled, v.int(-1 << 23));
  return { half, whole: v.binary(i32x4.add, doubled, doubled) };
}

/** e^x; overflows to infinity, underflows through the subnormal numbers to 0. */
export function exp(v: VectorCode, x: Vectors): Vectors {
  const { shifted, r } = reduce(v, v.clamp(x, -104, 89));
  // Two factors: 2^n alone would leave the range before the product does.
  const { half, whole } = exponents(v, shifted);
  const one = v.int(ONE);
  const first = v.mul(nearOne(v, r), v.binary(i32x4.add, half, one));
  return v.mul(first, v.binary(i32x4.add, v.binary(i32x4.sub, whole, half), one));
}

/** e^x for -87 <= x <= 88. */
function expWithin(v: VectorCode, x: Vectors): Vectors {
  const { shifted, r } = reduce(v, x);
  return v.mul(nearOne(v, r), power(v, shifted));
}

/** e^r */
function nearOne(v: VectorCode, r: Vectors): Vectors {
  const r2 = v.mul(r, r);
  return v.madd(r2, overSquare(v, r, r2, exponential), v.add(r, v.float(1)));
}

/** e^x - 1, accurate near 0. */
export function expm1(v: VectorCode, x: Vectors): Vectors {
  const { shifted, r } = reduce(v, v.clamp(x, -30, 89));
  const r2 = v.mul(r, r);
  const q = v.madd(r2, overSquare(v, r, r2, exponential), r);
  // 2^n·q + (2^n - 1) with half the power, doubled: 2^128 is no float.
  const s = power(v, v.binary(i32x4.sub, shifted, v.int(1)));
  const half = v.madd(s, q, v.sub(s, v.float(0.5)));
  // Where n is 0 the sum is q itself: keeps what is too small to be added.
  const isSmall = v.binary(i32x4.eq, shifted, v.float(MAGIC));
  return withSign(v, v.select(isSmall, q, v.add(half, half)), x);
}

/** log(m) - (m - 1) + (m - 1)²/2 over (m - 1)³, sqrt(1/2) <= m < sqrt(2). */
const logarithm = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
];

export function log(v: VectorCode, x: Vectors): Vectors {
  const tiny = v.binary(f32x4.lt, x, v.float(2 ** -126));
  const scaled = v.select(tiny, v.mul(x, v.float(2 ** 23)), x);
  // m·2^n with sqrt(1/2) <= m < sqrt(2), by moving the mantissa's bits to that interval.
  const offset = v.binary(i32x4.sub, scaled, v.int(0x3f3504f3));
  const n = v.shift(i32x4.shrS, offset, 23);
  const m = v.binary(i32x4.add, v.binary(v128.and, offset, v.int(0x007fffff)), v.int(0x3f3504f3));
  const lowered = v.select(tiny, v.int(23), v.int(0));
  const e = v.unary(f32x4.fromI32, v.binary(i32x4.sub, n, lowered));
  const t = v.sub(m, v.float(1));
  const t2 = v.mul(t, t);
  let y = v.mul(v.mul(v.polynomial(t, logarithm), t), t2);
  y = v.madd(e, v.float(-2.1219444e-4), y);
  y = v.nmadd(v.float(0.5), t2, y);
  const result = v.madd(e, v.float(0.693359375), v.add(t, y));
  const infinity = v.float(Number.POSITIVE_INFINITY);
  const isRegular = v.binary(f32x4.lt, x, infinity);
  const positive = v.select(isRegular, result, x); // infinity and NaN stay
  const isZero = v.binary(f32x4.eq, x, v.float(0));
  const atZero = v.select(isZero, v.float(Number.NEGATIVE_INFINITY), positive);
  return v.select(v.binary(f32x4.lt, x, v.float(0)), v.float(Number.NaN), atZero);
}

/** log(1 + x), accurate near 0: the error of 1 + x, divided by it, is added. */
export function log1p(v: VectorCode, x: Vectors): Vectors {
  const u = v.add(v.float(1), x);
  const lost = v.sub(x, v.sub(u, v.float(1)));
  const corrected = v.add(log(v, u), v.div(lost, u));
  // At -1 and beyond any fraction the correction is no number.
  const isPlain = v.binary(v128.and, v.binary(f32x4.gt, u, v.float(0)), v.binary(f32x4.lt, x, v.float(2 ** 60)));
  const plain = v.select(isPlain, corrected, log(v, u));
  // Below half a unit of 1, u is 1: x itself, with its sign when zero.
  return v.select(v.binary(f32x4.eq, u, v.float(1)), x, plain);
}

/** tanh(x) - x over x³, |x| < 0.625. */
const tangent = [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1];

/** 1 - 2 / (e^2|x| + 1) with x's sign; near 0, where that cancels, a polynomial. */
export function tanh(v: VectorCode, x: Vectors): Vectors {
  const magnitude = v.unary(f32x4.abs, x);
  // Beyond 10 it is 1, to the last bit.
  const e = expWithin(v, v.binary(f32x4.pmin, v.add(magnitude, magnitude), v.float(20)));
  const large = v.sub(v.float(1), v.div(v.float(2), v.add(e, v.float(1))));
  const x2 = v.mul(x, x);
  const small = v.madd(v.mul(v.polynomial(x2, tangent), x2), x, x);
  return withSign(v, v.select(v.binary(f32x4.lt, magnitude, v.float(0.625)), small, large), x);
}

/** e^-r - 1 + r over r². */
const inverseExponential = exponential.map((c, i) => (i % 2 === 1 ? -c : c)) as unknown as typeof exponential;

/**
 * 1 / (1 + e^-x). With x = n·ln 2 + r, both 1 and e^-x are scaled by half the power of 2, so that the quotient underflows through the
 * subnormal numbers and nothing overflows.
 */
export function sigmoid(v: VectorCode, x: Vectors): Vectors {
  const { shifted, r } = reduce(v, v.clamp(x, -104, 104));
  const r2 = v.mul(r, r);
  // e^-r, 1 taking part last: the one rounding of its size.
  const near = v.sub(v.float(1), v.nmadd(r2, overSquare(v, r, r2, inverseExponential), r));
  const { half, whole } = exponents(v, shifted);
  const one = v.binary(i32x4.add, half, v.int(ONE));
  return v.div(one, v.madd(near, v.binary(i32x4.sub, one, whole), one));
}

/** The sign of x for a result that has it already, or is a zero that lost it, or was computed without. */
function withSign(v: VectorCode, y: Vectors, x: Vectors): Vectors {
  return v.binary(v128.or, y, v.binary(v128.and, x, v.int(-2147483648)));
}

/** Odd over even polynomial, |x| <= 4; ±1 beyond, to the last bit of a float. */
export function erf(v: VectorCode, x: Vectors): Vectors {
  const c = v.clamp(x, -4, 4);
  const x2 = v.mul(c, c);
  const above = v.polynomial(
    x2,
    [
      -2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5, -7.34990630326855e-4,
      -2.95459980854025e-3, -1.60960333262415e-2,
    ],
  );
  const below = v.polynomial(
    x2,
    [-1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3, -1.42647390514189e-2],
  );
  const y = v.div(v.mul(c, above), below);
  // The quotient's numerator would leave the normal numbers.
  const isTiny = v.binary(f32x4.lt, v.unary(f32x4.abs, x), v.float(1e-4));
  return v.select(isTiny, v.mul(x, v.float(2 / Math.sqrt(Math.PI))), y);
}
