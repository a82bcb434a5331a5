import type { DType } from "@revnet-zero/tensor";
import { type I32, i32, i32x4, select, type V128, v128 } from "../assembler/index.ts";
import { fromHalf, toHalf } from "./half.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

/** Types that vector code loads and stores; the others stay with scalar loops. */
export type VectorDType = Exclude<DType, "f64">;
const codes: { readonly [K in VectorDType]: number } = {
  f32: 0,
  i32: 1,
  bf16: 2,
  bool: 3,
  f16: 4,
  i16: 5,
  i8: 6,
  u8: 7,
};
export const isVectorDType = (d: DType): d is VectorDType => d !== "f64";
/** A small number for each type. */
export const vectorCode = (d: VectorDType): number => codes[d];
export const VECTOR_CODES = 8;

interface Access {
  readonly bytes: number;
  /** Four neighbours, each a raw integer in 32 bits. May read past the last element. */
  readonly load: (address: I32, offset: number) => V128;
  /** One element as such an integer. */
  readonly loadOne: (address: I32) => I32;
  /** Raw integers as values. */
  readonly expand: (v: VectorCode, raw: Vectors) => Vectors;
  /** Values as lanes to be stored. */
  readonly pack: (v: VectorCode, values: Vectors) => Vectors;
  readonly storeLane: (address: I32, packed: V128, lane: number, offset: number) => readonly number[];
  /** Stores four packed lanes. */
  readonly store: (address: I32, packed: V128, offset: number) => readonly number[];
  /** Stores eight: for types of which they fill a vector. */
  readonly storePair?: (address: I32, first: V128, second: V128, offset: number) => readonly number[];
}

const asTheyAre = (_: VectorCode, values: Vectors): Vectors => values;

const words = {
  bytes: 4,
  load: (address, offset) => v128.load(address, offset),
  loadOne: (address) => i32.load(address),
  expand: asTheyAre,
  pack: asTheyAre,
  storeLane: (address, packed, lane, offset) => v128.storeLane32(address, packed, lane, offset + 4 * lane),
  store: (address, packed, offset) => v128.store(address, packed, offset),
} satisfies Access;

/** Packed lanes are 0 to 65535 in 32 bits. */
const halves = {
  bytes: 2,
  load: (address, offset) => v128.load16x4U(address, offset),
  loadOne: (address) => i32.load16u(address),
  storeLane: (address, packed, lane, offset) => v128.storeLane16(address, packed, 2 * lane, offset + 2 * lane),
  store: (address, packed, offset) => v128.storeLane64(address, i32x4.narrowU(packed, packed), 0, offset),
  storePair: (address, first, second, offset) => v128.store(address, i32x4.narrowU(first, second), offset),
} satisfies Partial<Access>;

const bytes = {
  bytes: 1,
  load: (address, offset) => i32x4.fromBytes(v128.load32Zero(address, offset)),
  loadOne: (address) => i32.load8u(address),
  expand: asTheyAre,
  // Modulo 2^8, as a typed array stores them.
  pack: (v, values) => {
    const low = v.binary(v128.and, values, v.int(0xff));
    return v.unary((w) => i32x4.narrowBytes(i32x4.narrowU(w, w), i32x4.narrowU(w, w)), low);
  },
  storeLane: (address, packed, lane, offset) => v128.storeLane8(address, packed, lane, offset + lane),
  store: (address, packed, offset) => v128.storeLane32(address, packed, 0, offset),
} satisfies Access;

const access: { readonly [K in VectorDType]: Access } = {
  f32: words,
  i32: words,
  bf16: {
    ...halves,
    expand: (v, raw) => v.shift(i32x4.shl, raw, 16),
    // Round to nearest even on the integer; NaN keeps its sign and becomes quiet.
    pack: (v, values) => {
      const odd = v.binary(v128.and, v.shift(i32x4.shrU, values, 16), v.int(1));
      const rounded = v.binary(i32x4.add, values, v.binary(i32x4.add, odd, v.int(0x7fff)));
      const isNan = v.binary(i32x4.gtS, v.binary(v128.and, values, v.int(0x7fffffff)), v.int(0x7f800000));
      const quiet = v.binary(v128.or, values, v.int(0x400000));
      return v.shift(i32x4.shrU, v.select(isNan, quiet, rounded), 16);
    },
  },
  f16: { ...halves, expand: fromHalf, pack: toHalf },
  i16: {
    ...halves,
    load: (address, offset) => v128.load16x4S(address, offset),
    loadOne: (address) => i32.load16s(address),
    expand: asTheyAre,
    pack: (v, values) => v.binary(v128.and, values, v.int(0xffff)),
  },
  i8: {
    ...bytes,
    load: (address, offset) => i32x4.fromSignedBytes(v128.load32Zero(address, offset)),
    loadOne: (address) => i32.load8s(address),
  },
  u8: bytes,
  bool: {
    ...bytes,
    expand: (v, raw) => v.unary(i32x4.neg, raw),
    pack: (v, masks) => bytes.pack(v, v.binary(v128.and, masks, v.int(1))),
  },
};

export const bytesOf = (d: VectorDType): number => access[d].bytes;

/** Neighbouring elements. */
export function loadVectors(v: VectorCode, d: VectorDType, address: I32): Vectors {
  const { load, bytes, expand } = access[d];
  return expand(
    v,
    v.map((i) => load(address, 4 * i * bytes)),
  );
}

/** One element in every lane. */
export function loadSplat(v: VectorCode, d: VectorDType, address: I32): V128 {
  const single = v.ofWidth(1);
  const { loadOne, expand } = access[d];
  return v.f.let(
    expand(
      single,
      single.map(() => i32x4.splat(loadOne(address))),
    )[0]!,
  );
}

/**
 * Elements `step` bytes apart, lane by lane. Of `count`, if given, the last is read again in the lanes that are left: steps may be long, and
 * the memory may end before the next.
 */
export function gatherVectors(v: VectorCode, d: VectorDType, address: I32, step: I32, count?: I32): Vectors {
  const { f } = v;
  const at = f.let(address);
  const { loadOne, expand } = access[d];
  const raws = v.map(() => {
    let raw: V128 = i32x4.const(0);
    for (let lane = 0; lane < 4; lane++) {
      raw = f.let(i32x4.replace(raw, lane, loadOne(at)));
      const isInside = count === undefined ? undefined : i32.gtS(count, i32.const(lane + 1));
      f.advance(at, isInside === undefined ? step : select(step, i32.const(0), isInside));
    }
    return raw;
  });
  return expand(v, raws);
}

export function storeVectors(v: VectorCode, d: VectorDType, address: I32, values: Vectors): void {
  const { pack, store, storePair, bytes } = access[d];
  const packed = pack(v, values);
  for (let i = 0; i < packed.length; i++) {
    const offset = 4 * i * bytes;
    if (storePair !== undefined && i + 1 < packed.length) v.f.do(storePair(address, packed[i]!, packed[++i]!, offset));
    else v.f.do(store(address, packed[i]!, offset));
  }
}

/** The first `count` (1 to 3) of one vector's lanes. */
export function storeSome(v: VectorCode, d: VectorDType, address: I32, values: Vectors, count: I32): void {
  const [packed] = access[d].pack(v, values);
  for (let lane = 0; lane < 3; lane++) {
    v.f.if(i32.gtS(count, i32.const(lane)), () => v.f.do(access[d].storeLane(address, packed!, lane, 0)));
  }
}
