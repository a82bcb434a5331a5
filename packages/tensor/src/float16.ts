// 16-bit floats as words. Conversions round to nearest, ties to even, and keep NaN a (quiet) NaN.

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Upper half of the float32 bits, rounded half to even. Overflow goes to infinity as IEEE 754 asks. */
export function toBf16(v: number): number {
  f32[0] = v;
  const b = u32[0]!;
  if ((b & 0x7fffffff) > 0x7f800000) return ((b >>> 16) | 0x40) & 0xffff;
  return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
}

export function fromBf16(w: number): number {
  u32[0] = w << 16;
  return f32[0]!;
}

/**
 * IEEE binary16 word of `v`. The value is first rounded to float32, so a float64 input is rounded twice, exactly as
 * a device that converts from f32 would.
 */
export function toF16(v: number): number {
  f32[0] = v;
  const b = u32[0]!;
  const sign = (b >>> 16) & 0x8000;
  const magnitude = b & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  if (magnitude <= 0x33000000) return sign; // 2^-25 and below round to zero (the tie goes to even)
  const shift = 126 - (magnitude >>> 23); // subnormal: 14..24
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const kept = mantissa >>> shift;
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

export function fromF16(w: number): number {
  const sign = w & 0x8000 ? -1 : 1;
  const exponent = (w >>> 10) & 31;
  const fraction = w & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
