import { float32Bytes, float64Bytes, int32Bytes, signed, unsigned } from "./encode.ts";

/** Types of WebAssembly values, with their codes in the binary format. Source: WebAssembly specification 5.3. */
export const typeCodes = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type Type = keyof typeof typeCodes;

/** Code that pushes one value. Operands come before the instruction: the order of writing is the order of running. */
export interface Value<T extends Type = Type> {
  readonly type: T;
  readonly code: readonly number[];
}
export type I32 = Value<"i32">;
export type F32 = Value<"f32">;
export type F64 = Value<"f64">;
export type V128 = Value<"v128">;

/** A statement: code that leaves the stack as it was. */
export type Statement = readonly number[];

type Operands<A extends readonly Type[]> = { readonly [K in keyof A]: Value<A[K]> };

function instruction<T extends Type, A extends readonly Type[]>(
  type: T,
  ...bytes: number[]
): (...operands: Operands<A>) => Value<T> {
  return (...operands) => ({ type, code: [...(operands as readonly Value[]).flatMap((o) => o.code), ...bytes] });
}
const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
const at = (offset: number): number[] => [0, ...unsigned(offset)];

type Load<T extends Type> = (address: I32, offset?: number) => Value<T>;
type Store<T extends Type> = (address: I32, value: Value<T>, offset?: number) => Statement;
const load =
  <T extends Type>(type: T, ...bytes: number[]): Load<T> =>
  (address, offset = 0) => ({ type, code: [...address.code, ...bytes, ...at(offset)] });
const store =
  <T extends Type>(...bytes: number[]): Store<T> =>
  (address, value, offset = 0) => [...address.code, ...value.code, ...bytes, ...at(offset)];

type Unary<T extends Type> = (a: Value<T>) => Value<T>;
type Binary<T extends Type> = (a: Value<T>, b: Value<T>) => Value<T>;
type Test<T extends Type> = (a: Value<T>, b: Value<T>) => I32;
type Shift = (a: V128, by: I32) => V128;
type Ternary = (a: V128, b: V128, c: V128) => V128;
type Table<K extends string, V> = { readonly [N in K]: V };
const i32op = (opcode: number): Binary<"i32"> => instruction("i32", opcode);
const i32test = i32op;
const f32op = (opcode: number): Binary<"f32"> => instruction("f32", opcode);
const f32un = (opcode: number): Unary<"f32"> => instruction("f32", opcode);
const f32test = (opcode: number): Test<"f32"> => instruction("i32", opcode);
const f64op = (opcode: number): Binary<"f64"> => instruction("f64", opcode);
const vec2 = (opcode: number): Binary<"v128"> => instruction("v128", ...simd(opcode));
const vec1 = (opcode: number): Unary<"v128"> => instruction("v128", ...simd(opcode));
const shift = (opcode: number): Shift => instruction("v128", ...simd(opcode));

/** Both sides are evaluated; gives `a` where the condition is not zero. */
export const select = <T extends Type>(a: Value<T>, b: Value<T>, condition: I32): Value<T> =>
  a.type === "v128"
    ? { type: a.type, code: [...a.code, ...b.code, ...condition.code, 0x1c, 1, typeCodes.v128] }
    : { type: a.type, code: [...a.code, ...b.code, ...condition.code, 0x1b] };

type I32Binary =
  | "add"
  | "sub"
  | "mul"
  | "divS"
  | "divU"
  | "remU"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shrS"
  | "shrU"
  | "eq"
  | "ne"
  | "ltS"
  | "ltU"
  | "gtS"
  | "gtU"
  | "leS"
  | "geS"
  | "geU"
  | "min"
  | "max";
type I32Table = Table<I32Binary, Binary<"i32">> &
  Table<"load" | "load8u" | "load8s" | "load16u" | "load16s", Load<"i32">> &
  Table<"store" | "store8" | "store16", Store<"i32">> & {
    readonly const: (n: number) => I32;
    readonly atomicAdd: (address: I32, value: I32) => Statement;
    readonly eqz: Unary<"i32">;
    /** How many of the lowest bits are zero. */
    readonly ctz: Unary<"i32">;
    readonly reinterpret: (a: F32) => I32;
  };
export const i32: I32Table = {
  const: (n: number): I32 => ({ type: "i32", code: [0x41, ...signed(n)] }),
  load: load("i32", 0x28),
  load8u: load("i32", 0x2d),
  load8s: load("i32", 0x2c),
  load16s: load("i32", 0x2e),
  load16u: load("i32", 0x2f),
  store: store<"i32">(0x36),
  store8: store<"i32">(0x3a),
  store16: store<"i32">(0x3b),
  add: i32op(0x6a),
  sub: i32op(0x6b),
  mul: i32op(0x6c),
  divS: i32op(0x6d),
  divU: i32op(0x6e),
  remU: i32op(0x70),
  and: i32op(0x71),
  or: i32op(0x72),
  xor: i32op(0x73),
  shl: i32op(0x74),
  shrS: i32op(0x75),
  shrU: i32op(0x76),
  eq: i32test(0x46),
  ne: i32test(0x47),
  ltS: i32test(0x48),
  ltU: i32test(0x49),
  gtS: i32test(0x4a),
  gtU: i32test(0x4b),
  leS: i32test(0x4c),
  geS: i32test(0x4e),
  geU: i32test(0x4f),
  /** Adds to memory, whole, whatever other threads do. */
  atomicAdd: (address, value) => [...address.code, ...value.code, 0xfe, 0x1e, 2, 0, 0x1a],
  eqz: ((a) => ({ type: "i32", code: [...a.code, 0x45] })) as Unary<"i32">,
  ctz: ((a) => ({ type: "i32", code: [...a.code, 0x68] })) as Unary<"i32">,
  min: (a: I32, b: I32): I32 => select(a, b, i32.ltS(a, b)),
  max: (a: I32, b: I32): I32 => select(a, b, i32.gtS(a, b)),
  reinterpret: instruction("i32", 0xbc) as (a: F32) => I32,
};

type F32Table = Table<"add" | "sub" | "mul" | "div" | "min" | "max", Binary<"f32">> &
  Table<"abs" | "neg" | "sqrt" | "nearest", Unary<"f32">> &
  Table<"eq" | "ne" | "lt" | "gt" | "ge", Test<"f32">> & {
    readonly const: (x: number) => F32;
    readonly load: Load<"f32">;
    readonly store: Store<"f32">;
    readonly convertS: (a: I32) => F32;
    readonly demote: (a: F64) => F32;
  };
export const f32: F32Table = {
  const: (x: number): F32 => ({ type: "f32", code: [0x43, ...float32Bytes(x)] }),
  load: load("f32", 0x2a),
  store: store<"f32">(0x38),
  add: f32op(0x92),
  sub: f32op(0x93),
  mul: f32op(0x94),
  div: f32op(0x95),
  min: f32op(0x96),
  max: f32op(0x97),
  abs: f32un(0x8b),
  neg: f32un(0x8c),
  sqrt: f32un(0x91),
  nearest: f32un(0x90),
  eq: f32test(0x5b),
  ne: f32test(0x5c),
  lt: f32test(0x5d),
  gt: f32test(0x5e),
  ge: f32test(0x60),
  convertS: instruction("f32", 0xb2) as (a: I32) => F32,
  demote: instruction("f32", 0xb6) as (a: F64) => F32,
};

type F64Table = Table<"add" | "sub" | "mul" | "div", Binary<"f64">> & {
  readonly const: (x: number) => F64;
  readonly load: Load<"f64">;
  readonly store: Store<"f64">;
  readonly sqrt: Unary<"f64">;
  readonly promote: (a: F32) => F64;
};
export const f64: F64Table = {
  const: (x: number): F64 => ({ type: "f64", code: [0x44, ...float64Bytes(x)] }),
  load: load("f64", 0x2b),
  store: store<"f64">(0x39),
  add: f64op(0xa0),
  sub: f64op(0xa1),
  mul: f64op(0xa2),
  div: f64op(0xa3),
  sqrt: instruction("f64", 0x9f) as Unary<"f64">,
  promote: instruction("f64", 0xbb) as (a: F32) => F64,
};

/** Sixteen byte indices of a shuffle that moves whole 32-bit lanes: 0..3 of the first vector, 4..7 of the second. */
const lanes = (picked: readonly number[]): number[] => picked.flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]);

type StoreLane = (address: I32, value: V128, lane: number, offset?: number) => Statement;
type V128Table = Table<
  "load" | "load16x4S" | "load16x4U" | "load8x8U" | "load8x8S" | "load32Splat" | "load32Zero" | "load64Zero",
  Load<"v128">
> &
  Table<"storeLane8" | "storeLane16" | "storeLane32" | "storeLane64", StoreLane> &
  Table<"and" | "andNot" | "or" | "xor", Binary<"v128">> & {
    readonly store: Store<"v128">;
    readonly not: Unary<"v128">;
    /** Bits of `a` where the mask is 1, of `b` elsewhere. */
    readonly bitSelect: Ternary;
    readonly anyTrue: (a: V128) => I32;
    /** Whole 32-bit lanes: 0..3 of the first vector, 4..7 of the second. */
    readonly lanes32: (a: V128, b: V128, picked: readonly [number, number, number, number]) => V128;
    readonly shuffle: (a: V128, b: V128, bytes: readonly number[]) => V128;
  };
export const v128: V128Table = {
  load: load("v128", ...simd(0)),
  /** Four 16-bit words, zero-extended to 32 bits. */
  load16x4S: load("v128", ...simd(3)),
  load16x4U: load("v128", ...simd(4)),
  load8x8U: load("v128", ...simd(2)),
  load8x8S: load("v128", ...simd(1)),
  load32Splat: load("v128", ...simd(9)),
  load32Zero: load("v128", ...simd(92)),
  load64Zero: load("v128", ...simd(93)),
  store: store<"v128">(...simd(11)),
  storeLane32: (address: I32, value: V128, lane: number, offset = 0): Statement => [
    ...address.code,
    ...value.code,
    ...simd(90),
    ...at(offset),
    lane,
  ],
  storeLane16: (address: I32, value: V128, lane: number, offset = 0): Statement => [
    ...address.code,
    ...value.code,
    ...simd(89),
    ...at(offset),
    lane,
  ],
  storeLane8: (address: I32, value: V128, lane: number, offset = 0): Statement => [
    ...address.code,
    ...value.code,
    ...simd(88),
    ...at(offset),
    lane,
  ],
  storeLane64: (address: I32, value: V128, lane: number, offset = 0): Statement => [
    ...address.code,
    ...value.code,
    ...simd(91),
    ...at(offset),
    lane,
  ],
  not: vec1(77),
  and: vec2(78),
  andNot: vec2(79),
  or: vec2(80),
  xor: vec2(81),
  /** Bits of `a` where the mask is 1, of `b` elsewhere. */
  bitSelect: instruction("v128", ...simd(82)) as (a: V128, b: V128, mask: V128) => V128,
  anyTrue: instruction("i32", ...simd(83)) as (a: V128) => I32,
  lanes32: (a: V128, b: V128, picked: readonly [number, number, number, number]): V128 => ({
    type: "v128",
    code: [...a.code, ...b.code, ...simd(13), ...lanes(picked)],
  }),
  shuffle: (a: V128, b: V128, bytes: readonly number[]): V128 => ({
    type: "v128",
    code: [...a.code, ...b.code, ...simd(13), ...bytes],
  }),
};

const repeated = (bytes: readonly number[]): V128 => ({
  type: "v128",
  code: [...simd(12), ...bytes, ...bytes, ...bytes, ...bytes],
});

type F32x4Table = Table<
  "add" | "sub" | "mul" | "div" | "min" | "max" | "pmin" | "pmax" | "eq" | "ne" | "lt" | "gt" | "le" | "ge",
  Binary<"v128">
> &
  Table<"abs" | "neg" | "sqrt" | "ceil" | "floor" | "trunc" | "nearest" | "fromI32" | "demote", Unary<"v128">> &
  Table<"relaxedMadd" | "relaxedNmadd", Ternary> & {
    readonly const: (x: number) => V128;
    readonly splat: (a: F32) => V128;
    readonly lane: (a: V128, lane: number) => F32;
    readonly replace: (a: V128, lane: number, x: F32) => V128;
  };
export const f32x4: F32x4Table = {
  const: (x: number): V128 => repeated(float32Bytes(x)),
  splat: instruction("v128", ...simd(19)) as (a: F32) => V128,
  lane: (a: V128, lane: number): F32 => ({ type: "f32", code: [...a.code, ...simd(31), lane] }),
  replace: (a: V128, lane: number, x: F32): V128 => ({ type: "v128", code: [...a.code, ...x.code, ...simd(32), lane] }),
  add: vec2(228),
  sub: vec2(229),
  mul: vec2(230),
  div: vec2(231),
  /** NaN if either is NaN, as JavaScript's. */
  min: vec2(232),
  max: vec2(233),
  /** b < a ? b : a and a < b ? b : a: one instruction on x64; `a` wins where either is NaN. */
  pmin: vec2(234),
  pmax: vec2(235),
  abs: vec1(224),
  neg: vec1(225),
  sqrt: vec1(227),
  ceil: vec1(103),
  floor: vec1(104),
  trunc: vec1(105),
  nearest: vec1(106),
  eq: vec2(65),
  ne: vec2(66),
  lt: vec2(67),
  gt: vec2(68),
  le: vec2(69),
  ge: vec2(70),
  fromI32: vec1(250),
  /** Two doubles, and two zeros. */
  demote: vec1(94),
  relaxedMadd: instruction("v128", ...simd(0x105)) as (a: V128, b: V128, c: V128) => V128,
  relaxedNmadd: instruction("v128", ...simd(0x106)) as (a: V128, b: V128, c: V128) => V128,
};

const i16x8FromBytes = vec1(137);
const i32x4FromWords = vec1(169);
const i16x8FromSignedBytes = vec1(135);
const i32x4FromSignedWords = vec1(167);
type I32x4Table = Table<
  "add" | "sub" | "mul" | "eq" | "ne" | "ltS" | "gtS" | "leS" | "geS" | "minS" | "maxS" | "narrowU",
  Binary<"v128">
> &
  Table<"neg" | "abs" | "truncSat" | "truncSatF64", Unary<"v128">> &
  Table<"shl" | "shrS" | "shrU", Shift> & {
    readonly const: (n: number) => V128;
    readonly constants: (values: readonly [number, number, number, number]) => V128;
    /** Of eight signed 16-bit words each: products, neighbours added. */
    readonly dot: Binary<"v128">;
    /** The low four bytes, zero-extended. */
    readonly fromBytes: Unary<"v128">;
    /** Sign-extended. */
    readonly fromSignedBytes: Unary<"v128">;
    readonly replace: (a: V128, lane: number, x: I32) => V128;
    /** 16-bit words saturated to bytes. */
    readonly narrowBytes: Binary<"v128">;
    readonly splat: (a: I32) => V128;
    readonly lane: (a: V128, lane: number) => I32;
    readonly bitmask: (a: V128) => I32;
  };
export const i32x4: I32x4Table = {
  const: (n: number): V128 => repeated(int32Bytes(n)),
  constants: (values) => ({ type: "v128", code: [...simd(12), ...values.flatMap(int32Bytes)] }),
  splat: instruction("v128", ...simd(17)) as (a: I32) => V128,
  lane: (a: V128, lane: number): I32 => ({ type: "i32", code: [...a.code, ...simd(27), lane] }),
  add: vec2(174),
  sub: vec2(177),
  mul: vec2(181),
  dot: vec2(186),
  neg: vec1(161),
  abs: vec1(160),
  shl: shift(171),
  shrS: shift(172),
  shrU: shift(173),
  /** The low four bytes, zero-extended. */
  fromBytes: (a) => i32x4FromWords(i16x8FromBytes(a)),
  fromSignedBytes: (a) => i32x4FromSignedWords(i16x8FromSignedBytes(a)),
  replace: (a, lane, x) => ({ type: "v128", code: [...a.code, ...x.code, ...simd(28), lane] }),
  eq: vec2(55),
  ne: vec2(56),
  ltS: vec2(57),
  gtS: vec2(59),
  leS: vec2(61),
  geS: vec2(63),
  minS: vec2(182),
  maxS: vec2(184),
  /** Toward zero, saturating, NaN to 0. */
  truncSat: vec1(248),
  /** Of two doubles, and two zeros. */
  truncSatF64: vec1(252),
  bitmask: instruction("i32", ...simd(164)) as (a: V128) => I32,
  /** Saturating words of 16 bits: `a` in the low half, `b` in the high. */
  narrowU: vec2(134),
  narrowBytes: vec2(102),
};

type F64x2Table = Table<"add" | "sub" | "mul", Binary<"v128">> &
  Table<"floor" | "nearest" | "promoteLow", Unary<"v128">> & {
    readonly const: (x: number) => V128;
    readonly splat: (a: F64) => V128;
    readonly lane: (a: V128, lane: number) => F64;
  };
export const f64x2: F64x2Table = {
  const: (x: number): V128 => ({ type: "v128", code: [...simd(12), ...float64Bytes(x), ...float64Bytes(x)] }),
  splat: instruction("v128", ...simd(20)) as (a: F64) => V128,
  lane: (a: V128, lane: number): F64 => ({ type: "f64", code: [...a.code, ...simd(33), lane] }),
  add: vec2(240),
  sub: vec2(241),
  mul: vec2(242),
  floor: vec1(117),
  nearest: vec1(148),
  promoteLow: vec1(95),
};

type I64x2Table = Table<"extmulLowU" | "extmulHighU", Binary<"v128">>;
export const i64x2: I64x2Table = {
  /** 64-bit products of the unsigned 32-bit lanes 0 and 1, or 2 and 3. */
  extmulLowU: vec2(222),
  extmulHighU: vec2(223),
};
