import type { DType } from "@revnet-zero/tensor";
import { type FunctionBuilder, type I32, i32, i32x4, select, type V128, v128 } from "../assembler/index.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

/** Types that vector code loads and stores; the others stay with scalar loops. */
export type VectorDType = Extract<DType, "f32" | "i32" | "bf16" | "bool">;
const codes: { readonly [K in VectorDType]: number } = { f32: 0, i32: 1, bf16: 2, bool: 3 };
export const isVectorDType = (d: DType): d is VectorDType => d === "f32" || d === "i32" || d === "bf16" || d === "bool";
/** A small number for each type. */
export const vectorCode = (d: VectorDType): number => codes[d];

interface Access {
  readonly bytes: number;
  /** Four neighbours as 32-bit lanes. May read past the last element. */
  readonly load: (address: I32, offset: number) => V128;
  /** One element as the raw integer that `expand` takes. */
  readonly loadOne: (address: I32) => I32;
  /** 32-bit lanes of raw integers as values. */
  readonly expand: (raw: V128) => V128;
  /** Values as lanes to be stored. */
  readonly pack: (v: VectorCode, values: Vectors) => Vectors;
  readonly storeLane: (address: I32, packed: V128, lane: number, offset: number) => readonly number[];
  /** Stores four packed lanes. */
  readonly store: (address: I32, packed: V128, offset: number) => readonly number[];
}

const words: Access = {
  bytes: 4,
  load: (address, offset) => v128.load(address, offset),
  loadOne: (address) => i32.load(address),
  expand: (raw) => raw,
  pack: (_, values) => values,
  storeLane: (address, packed, lane, offset) => v128.storeLane32(address, packed, lane, offset + 4 * lane),
  store: (address, packed, offset) => v128.store(address, packed, offset),
};

const access: { readonly [K in VectorDType]: Access } = {
  f32: words,
  i32: words,
  bf16: {
    bytes: 2,
    load: (address, offset) => i32x4.shl(v128.load16x4U(address, offset), i32.const(16)),
    loadOne: (address) => i32.load16u(address),
    expand: (raw) => i32x4.shl(raw, i32.const(16)),
    // Round to nearest even on the integer; NaN keeps its sign and becomes quiet.
    pack: (v, values) => {
      const odd = v.binary(v128.and, v.shift(i32x4.shrU, values, 16), v.int(1));
      const rounded = v.binary(i32x4.add, values, v.binary(i32x4.add, odd, v.int(0x7fff)));
      const isNan = v.binary(i32x4.gtS, v.binary(v128.and, values, v.int(0x7fffffff)), v.int(0x7f800000));
      const quiet = v.binary(v128.or, values, v.int(0x400000));
      return v.unary((w) => i32x4.narrowU(w, w), v.shift(i32x4.shrU, v.select(isNan, quiet, rounded), 16));
    },
    storeLane: (address, packed, lane, offset) => v128.storeLane16(address, packed, lane, offset + 2 * lane),
    store: (address, packed, offset) => v128.storeLane64(address, packed, 0, offset),
  },
  bool: {
    bytes: 1,
    load: (address, offset) => i32x4.neg(i32x4.fromBytes(v128.load32Zero(address, offset))),
    loadOne: (address) => i32.load8u(address),
    expand: (raw) => i32x4.neg(raw),
    pack: (v, masks) => {
      const ones = v.binary(v128.and, masks, v.int(1));
      return v.unary((w) => i32x4.narrowBytes(i32x4.narrowU(w, w), i32x4.narrowU(w, w)), ones);
    },
    storeLane: (address, packed, lane, offset) => v128.storeLane8(address, packed, lane, offset + lane),
    store: (address, packed, offset) => v128.storeLane32(address, packed, 0, offset),
  },
};

export const bytesOf = (d: VectorDType): number => access[d].bytes;

/** Neighbouring elements. */
export function loadVectors(v: VectorCode, d: VectorDType, address: I32): Vectors {
  return v.map((i) => access[d].load(address, 4 * i * access[d].bytes));
}

/** One element in every lane. */
export function loadSplat(f: FunctionBuilder, d: VectorDType, address: I32): V128 {
  return f.let(access[d].expand(i32x4.splat(access[d].loadOne(address))));
}

/**
 * Elements `step` bytes apart, lane by lane. Of `count`, if given, the last is read again in the lanes that are left: steps may be long, and
 * the memory may end before the next.
 */
export function gatherVectors(v: VectorCode, d: VectorDType, address: I32, step: I32, count?: I32): Vectors {
  const { f } = v;
  const at = f.let(address);
  const { loadOne, expand } = access[d];
  return v.map(() => {
    let raw: V128 = i32x4.const(0);
    for (let lane = 0; lane < 4; lane++) {
      raw = f.let(i32x4.replace(raw, lane, loadOne(at)));
      const isInside = count === undefined ? undefined : i32.gtS(count, i32.const(lane + 1));
      f.advance(at, isInside === undefined ? step : select(step, i32.const(0), isInside));
    }
    return expand(raw);
  });
}

export function storeVectors(v: VectorCode, d: VectorDType, address: I32, values: Vectors): void {
  const packed = access[d].pack(v, values);
  packed.forEach((p, i) => {
    v.f.do(access[d].store(address, p, 4 * i * access[d].bytes));
  });
}

/** The first `count` (1 to 3) of one vector's lanes. */
export function storeSome(v: VectorCode, d: VectorDType, address: I32, values: Vectors, count: I32): void {
  const [packed] = access[d].pack(v, values);
  for (let lane = 0; lane < 3; lane++) {
    v.f.if(i32.gtS(count, i32.const(lane)), () => v.f.do(access[d].storeLane(address, packed!, lane, 0)));
  }
}
