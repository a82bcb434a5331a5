/** 1.5 · 2^52: adding and subtracting it rounds a double half to even, for |v| < 2^51. */
const MAGIC = 6755399441055744;

/** Nearest integer, ties to even. */
export function rint(v: number): number {
  return Math.abs(v) < 2251799813685248 ? v + MAGIC - MAGIC : v;
}

/**
 * The quantisation of the fixed-point streams: nearest integer (ties to even), saturated to int32, NaN to 0. What
 * CUDA's `cvt.rni.s32.f32` computes.
 */
export function fixed(v: number): number {
  const r = v + MAGIC - MAGIC;
  return r >= 2147483647 ? 2147483647 : r <= -2147483648 ? -2147483648 : r | 0;
}

/** Toward zero, saturated to a closed range, NaN to 0. */
export function saturate(v: number, [low, high]: readonly [number, number]): number {
  return Math.trunc(Math.min(Math.max(v, low), high)) || 0;
}
