import { f32x4, i32x4, v128 } from "../assembler/index.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

// Float32 functions on vectors, within the errors that test/functions.test.ts states and measures over all magnitudes.
// Reduction: Cody & Waite 1980; coefficients of exp, log and tanh: the Cephes library
// (Moshier 1989); of erf: a rational minimax fit.

/** x = n·ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts so that r is exact: n as float and integer, and r. */
function reduce(v: VectorCode, x: Vectors): { readonly n: Vectors; readonly r: Vectors } {
  const magic = v.float(12582912); // 1.5 · 2^23: its sum with a small number is that number rounded.
  const shifted = v.madd(x, v.float(Math.LOG2E), magic);
  const n = v.sub(shifted, magic);
  const r = v.nmadd(n, v.float(-2.1219444e-4), v.nmadd(n, v.float(0.693359375), x));
  return { n: v.binary(i32x4.sub, shifted, magic), r };
}

/** e^r - 1 - r over r², |r| <= 0.35. */
const exponential = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5];

/** 2^n for integers -126 <= n <= 127. */
const power = (v: VectorCode, n: Vectors): Vectors => v.shift(i32x4.shl, v.binary(i32x4.add, n, v.int(127)), 23);

/** e^x; overflows to infinity, underflows through the subnormal numbers to 0. */
export function exp(v: VectorCode, x: Vectors): Vectors {
  const { n, r } = reduce(v, v.clamp(x, -104, 89));
  // Two factors: 2^n alone would leave the range before the product does.
  const half = v.shift(i32x4.shrS, n, 1);
  return v.mul(v.mul(nearOne(v, r), power(v, half)), power(v, v.binary(i32x4.sub, n, half)));
}

/** e^x for -87 <= x <= 88. */
function expWithin(v: VectorCode, x: Vectors): Vectors {
  const { n, r } = reduce(v, x);
  return v.mul(nearOne(v, r), power(v, n));
}

/** e^r */
const nearOne = (v: VectorCode, r: Vectors): Vectors =>
  v.madd(v.mul(r, r), v.polynomial(r, exponential), v.add(r, v.float(1)));

/** e^x - 1, accurate near 0. */
export function expm1(v: VectorCode, x: Vectors): Vectors {
  const { n, r } = reduce(v, v.clamp(x, -30, 89));
  const q = v.madd(v.mul(r, r), v.polynomial(r, exponential), r);
  // 2^n·q + (2^n - 1) with half the power, doubled: 2^128 is no float.
  const s = power(v, v.binary(i32x4.sub, n, v.int(1)));
  const half = v.madd(s, q, v.sub(s, v.float(0.5)));
  // Where n is 0 the sum is q itself: keeps what is too small to be added.
  const isSmall = v.binary(i32x4.eq, n, v.int(0));
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
