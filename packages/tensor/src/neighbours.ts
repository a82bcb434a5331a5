import type { DType } from "./dtype.ts";
import { fromBf16, fromF16, toBf16, toF16 } from "./float16.ts";

// Floats of one type are ordered like their words: the neighbour of a float is the word beside its own.

interface Grid {
  readonly toWord: (v: number) => number;
  readonly fromWord: (w: number) => number;
  readonly signBit: number;
}

const buffer = new DataView(new ArrayBuffer(4));
const f32: Grid = {
  toWord: (v) => {
    buffer.setFloat32(0, v);
    return buffer.getUint32(0);
  },
  fromWord: (w) => {
    buffer.setUint32(0, w);
    return buffer.getFloat32(0);
  },
  signBit: 0x80000000,
};
const grids: Partial<Record<DType, Grid>> = {
  f32,
  bf16: { toWord: toBf16, fromWord: fromBf16, signBit: 0x8000 },
  f16: { toWord: toF16, fromWord: fromF16, signBit: 0x8000 },
};

/** The greatest f32, bf16 or f16 below `value`; of any other type, as f32. NaN where `value` is NaN. */
export function greatestBelow(value: number, dtype: DType): number {
  const { toWord, fromWord, signBit } = grids[dtype] ?? f32;
  const word = toWord(value);
  const nearest = fromWord(word);
  if (!(nearest >= value)) return nearest;
  if (nearest === 0) return fromWord(signBit + 1);
  return fromWord(nearest > 0 ? word - 1 : word + 1);
}

/** The least f32, bf16 or f16 that is not below `value`; of any other type, as f32. NaN where `value` is NaN. */
export function leastFrom(value: number, dtype: DType): number {
  const { toWord, fromWord } = grids[dtype] ?? f32;
  const nearest = fromWord(toWord(value));
  return nearest < value ? -greatestBelow(-nearest, dtype) : nearest;
}
