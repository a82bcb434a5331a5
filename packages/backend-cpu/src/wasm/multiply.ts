import { f32x4, type V128 } from "./assembler/index.ts";

/** a·b + c and c - a·b on four floats: fused where the engine has relaxed SIMD, rounded twice elsewhere. */
export interface Multiply {
  readonly isFused: boolean;
  readonly add: (a: V128, b: V128, c: V128) => V128;
  readonly subtractFrom: (a: V128, b: V128, c: V128) => V128;
}

export const fusedMultiply: Multiply = {
  isFused: true,
  add: f32x4.relaxedMadd,
  subtractFrom: f32x4.relaxedNmadd,
};

export const roundedMultiply: Multiply = {
  isFused: false,
  add: (a, b, c) => f32x4.add(f32x4.mul(a, b), c),
  subtractFrom: (a, b, c) => f32x4.sub(c, f32x4.mul(a, b)),
};
