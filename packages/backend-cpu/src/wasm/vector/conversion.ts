import { dtypes, type ElementwiseOp, elementwise } from "@revnet-zero/tensor";
import { f32x4, i32x4, v128 } from "../assembler/index.ts";
import type { Written } from "./body.ts";
import type { VectorDType } from "./memory.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

/** Stands for conversions between types, whose code is made of the two types and not of a body. */
export const conversion: ElementwiseOp = elementwise({
  name: "conversion",
  arity: 1,
  doc: "x in another type",
  meta: ([x]) => [x!],
  body: ([x]) => x!,
  gradient: "none",
});

type Convert = (v: VectorCode, x: Vectors) => Vectors;

const isNonzero: { readonly [K in "float" | "int" | "bool"]: Convert } = {
  float: (v, x) => v.binary(f32x4.ne, x, v.float(0)),
  int: (v, x) => v.binary(i32x4.ne, x, v.int(0)),
  bool: (_, x) => x,
};

/** Floats become integers toward zero, all saturate, NaN is 0; undefined where two roundings could differ from the one. */
function converter(from: VectorDType, to: VectorDType): Convert | undefined {
  const [source, target] = [dtypes[from].kind, dtypes[to].kind];
  if (target === "bool") return isNonzero[source];
  if (target === "float") {
    if (source === "float") return (_, x) => x;
    if (source === "bool") return (v, x) => v.binary(v128.and, x, v.float(1));
    // By way of float32, which has not all of 32 bits.
    return from === "i32" && to !== "f32" ? undefined : (v, x) => v.unary(f32x4.fromI32, x);
  }
  if (source === "bool") return (v, x) => v.binary(v128.and, x, v.int(1));
  const [low, high] = dtypes[to].range!;
  const bounded: Convert = (v, x) =>
    to === "i32" ? x : v.binary(i32x4.minS, v.binary(i32x4.maxS, x, v.int(low)), v.int(high));
  return source === "int" ? bounded : (v, x) => bounded(v, v.unary(i32x4.truncSat, x));
}

export function writeConversion(from: VectorDType, to: VectorDType): Written | undefined {
  const convert = converter(from, to);
  if (convert === undefined) return undefined;
  return { type: dtypes[to].kind, key: "conversion", cost: 4, isJoined: true, write: (v, [x]) => convert(v, x!) };
}
