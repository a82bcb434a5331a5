// What JavaScript says that instructions do, and values to try them on.

export const words = [0, 1, 2, 3, 7, 31, 255, 65_536, -1, -2, -128, 0x7fffffff, -0x80000000, 0x12345678];
export const floats = [
  0,
  -0,
  1,
  -1,
  0.5,
  1.5,
  2.5,
  -2.5,
  3.7,
  -3.7,
  1e-40,
  3e9,
  -3e9,
  1e38,
  Infinity,
  -Infinity,
  Number.NaN,
].map(Math.fround);
export const doubles = [...floats, 0.1, 1 / 3, 4294967295, -2147483648.5];

export const flag = (b: boolean): number => (b ? 1 : 0);
export const mask = (b: boolean): number => (b ? -1 : 0);
export const evenRound = (x: number): number => {
  const low = Math.floor(x);
  if (!Number.isFinite(x) || x === low) return x;
  const up = x - low > 0.5 || (x - low === 0.5 && low % 2 !== 0);
  const rounded = up ? low + 1 : low;
  return rounded === 0 && x < 0 ? -0 : rounded;
};
export const truncated = (x: number): number =>
  Number.isNaN(x) ? 0 : Math.max(-0x80000000, Math.min(0x7fffffff, Math.trunc(x))) | 0;
export const bitsOf = (x: number): number => new Int32Array(Float32Array.of(x).buffer)[0]!;

export type Scalar = { readonly [name: string]: (a: number, b: number) => number };

export const ofI32: Scalar = {
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: Math.imul,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shrS: (a, b) => a >> b,
  shrU: (a, b) => (a >>> b) | 0,
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  ltS: (a, b) => flag(a < b),
  ltU: (a, b) => flag(a >>> 0 < b >>> 0),
  gtS: (a, b) => flag(a > b),
  gtU: (a, b) => flag(a >>> 0 > b >>> 0),
  leS: (a, b) => flag(a <= b),
  geS: (a, b) => flag(a >= b),
  geU: (a, b) => flag(a >>> 0 >= b >>> 0),
  min: (a, b) => Math.min(a, b),
  max: (a, b) => Math.max(a, b),
};
/** Those that trap where JavaScript gives something. */
export const divisions: Scalar = {
  divS: (a, b) => (b === 0 || (a === -0x80000000 && b === -1) ? Number.NaN : (a / b) | 0),
  divU: (a, b) => (b === 0 ? Number.NaN : ((a >>> 0) / (b >>> 0)) | 0),
  remU: (a, b) => (b === 0 ? Number.NaN : ((a >>> 0) % (b >>> 0)) | 0),
};
export const ofF32: Scalar = {
  add: (a, b) => Math.fround(a + b),
  sub: (a, b) => Math.fround(a - b),
  mul: (a, b) => Math.fround(a * b),
  div: (a, b) => Math.fround(a / b),
  min: Math.min,
  max: Math.max,
};
export const testsOfF32: Scalar = {
  eq: (a, b) => flag(a === b),
  ne: (a, b) => flag(a !== b),
  lt: (a, b) => flag(a < b),
  gt: (a, b) => flag(a > b),
  ge: (a, b) => flag(a >= b),
};
export const unaryF32: Scalar = {
  abs: Math.abs,
  neg: (a) => -a,
  sqrt: (a) => Math.fround(Math.sqrt(a)),
  nearest: evenRound,
};
export const ofF64: Scalar = { add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b };

export const f32x4Binary: Scalar = {
  ...ofF32,
  pmin: (a, b) => {
    if (b < a) return b;
    return a;
  },
  pmax: (a, b) => {
    if (a < b) return b;
    return a;
  },
};
export const f32x4Unary: Scalar = {
  ...unaryF32,
  ceil: (a) => Math.ceil(a),
  floor: (a) => Math.floor(a),
  trunc: (a) => Math.trunc(a),
};
export const f32x4Tests: Scalar = {
  ...Object.fromEntries(Object.entries(testsOfF32).map(([n, t]) => [n, (a: number, b: number) => mask(t(a, b) === 1)])),
  le: (a, b) => mask(a <= b),
};
export const i32x4Binary: Scalar = {
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: Math.imul,
  minS: Math.min,
  maxS: Math.max,
  eq: (a, b) => mask(a === b),
  ne: (a, b) => mask(a !== b),
  ltS: (a, b) => mask(a < b),
  gtS: (a, b) => mask(a > b),
  leS: (a, b) => mask(a <= b),
  geS: (a, b) => mask(a >= b),
};
export const i32x4Unary: Scalar = { neg: (a) => -a | 0, abs: (a) => Math.abs(a) | 0 };
export const bitwise: Scalar = {
  and: (a, b) => a & b,
  andNot: (a, b) => a & ~b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  not: (a) => ~a,
};
export const shifts: Scalar = { shl: (a, b) => a << b, shrS: (a, b) => a >> b, shrU: (a, b) => (a >>> b) | 0 };
