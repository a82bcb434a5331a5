import { i32x4, v128 } from "../assembler/index.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

// IEEE half precision in the low 16 bits of 32-bit lanes, from and to float32.

const SIGN = -2147483648;

/** Exact. Moving the bits makes a float 2^112 times too small, subnormal or not; infinity and NaN get the exponent they lack. */
export function fromHalf(v: VectorCode, raw: Vectors): Vectors {
  const sign = v.shift(i32x4.shl, v.binary(v128.and, raw, v.int(0x8000)), 16);
  const moved = v.shift(i32x4.shl, v.binary(v128.and, raw, v.int(0x7fff)), 13);
  const isSpecial = v.binary(i32x4.geS, moved, v.int(0x7c00 << 13));
  const special = v.binary(v128.or, moved, v.int(0x7f800000));
  return v.binary(v128.or, v.select(isSpecial, special, v.mul(moved, v.float(2 ** 112))), sign);
}

/** To nearest, ties to even; NaN becomes the quiet one of its sign. */
export function toHalf(v: VectorCode, values: Vectors): Vectors {
  const sign = v.binary(v128.and, values, v.int(SIGN));
  const size = v.binary(v128.xor, values, sign);
  const odd = v.binary(v128.and, v.shift(i32x4.shrU, size, 13), v.int(1));
  // Another exponent bias, and half a unit less a bit: a carry is what rounding up is, up to infinity.
  const rebiased = v.binary(i32x4.add, size, v.int(((15 - 127) << 23) + 0xfff));
  const normal = v.shift(i32x4.shrU, v.binary(i32x4.add, rebiased, odd), 13);
  // The unit of 0.5 is the smallest half: the sum rounds there.
  const subnormal = v.binary(i32x4.sub, v.add(size, v.float(0.5)), v.int(0x3f000000));
  const isSmall = v.binary(i32x4.ltS, size, v.int(113 << 23));
  const isNan = v.binary(i32x4.gtS, size, v.int(0x7f800000));
  const isHuge = v.binary(i32x4.geS, size, v.int((127 + 16) << 23));
  const finite = v.select(isSmall, subnormal, normal);
  const found = v.select(isNan, v.int(0x7e00), v.select(isHuge, v.int(0x7c00), finite));
  return v.binary(v128.or, found, v.shift(i32x4.shrU, sign, 16));
}
