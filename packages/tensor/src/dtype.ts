import { DTypeError } from "./errors.ts";

/** Element types. `bf16` and `f16` are stored as 16-bit words; `bool` is one byte, 0 or 1. */
export type DType = "f32" | "f64" | "bf16" | "f16" | "i32" | "i16" | "i8" | "u8" | "bool";

export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | Int16Array | Int8Array | Uint8Array;

export interface DTypeInfo {
  readonly bytes: 1 | 2 | 4 | 8;
  readonly kind: "float" | "int" | "bool";
  /** The host array that holds the raw words. */
  readonly array: new (
    lengthOrBuffer: number,
  ) => TypedArray;
  /** Closed range of the values an integer type holds. */
  readonly range?: readonly [number, number];
}

export const dtypes: { readonly [D in DType]: DTypeInfo } = {
  f64: { bytes: 8, kind: "float", array: Float64Array },
  f32: { bytes: 4, kind: "float", array: Float32Array },
  bf16: { bytes: 2, kind: "float", array: Uint16Array },
  f16: { bytes: 2, kind: "float", array: Uint16Array },
  i32: { bytes: 4, kind: "int", array: Int32Array, range: [-2147483648, 2147483647] },
  i16: { bytes: 2, kind: "int", array: Int16Array, range: [-32768, 32767] },
  i8: { bytes: 1, kind: "int", array: Int8Array, range: [-128, 127] },
  u8: { bytes: 1, kind: "int", array: Uint8Array, range: [0, 255] },
  bool: { bytes: 1, kind: "bool", array: Uint8Array, range: [0, 1] },
};

export const allDTypes: readonly DType[] = Object.keys(dtypes) as DType[];

export const isFloat = (d: DType): boolean => dtypes[d].kind === "float";
/** Types of fixed-point streams: integers that may carry gradients. */
export const mayBeStream = (d: DType): boolean => d === "i32" || d === "i16" || d === "i8";
export const isInteger = (d: DType): boolean => dtypes[d].kind === "int";

/** Small to large; a wider entry holds every value of a narrower one of the same kind, except the two pairs below. */
const ladder: readonly DType[] = ["bool", "u8", "i8", "i16", "i32", "f16", "bf16", "f32", "f64"];

/**
 * The type two operands meet in. Integers meet floats in the float; `u8` with `i8` widens to `i16`;
 * `f16` with `bf16` widens to `f32`, because neither holds the other.
 */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  const pair = [a, b].sort().join();
  if (pair === "i8,u8") return "i16";
  if (pair === "bf16,f16") return "f32";
  return ladder.indexOf(a) > ladder.indexOf(b) ? a : b;
}

/** The type a gradient of a tensor of type `d` has: fixed-point (integer) tensors carry f32 cotangents. */
export const gradientDType = (d: DType): DType => (isFloat(d) ? d : "f32");

/** The type of what a row of 16-bit floats is summed up in (a log-sum-exp, a loss): float32; of other floats their own. */
export const statisticsType = (d: DType): DType => (d === "bf16" || d === "f16" ? "f32" : d);

export function checkDType(op: string, d: string): DType {
  if (Object.hasOwn(dtypes, d)) return d as DType;
  throw new DTypeError(op, `unknown dtype "${d}"`, `use one of ${allDTypes.join(", ")}`);
}
