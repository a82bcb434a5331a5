import { type DType, dtypes, type TypedArray } from "@revnet-zero/tensor";
import { wordsOf } from "./text/source.ts";

/** Host words as the numbers of a buffer of `elements` elements. */
export function wordsFromHost(values: TypedArray, dtype: DType, elements: number): Float32Array {
  const numbers = new Float32Array(wordsOf(dtype, elements));
  if (dtype !== "i32") {
    numbers.set(values);
    return numbers;
  }
  values.forEach((v, i) => {
    numbers[i] = v >> 16;
    numbers[elements + i] = v & 65535;
  });
  return numbers;
}

/** The first `count` elements of a buffer as host words. */
export function wordsToHost(numbers: Float32Array, dtype: DType, elements: number, count: number): TypedArray {
  if (dtype !== "i32") return new dtypes[dtype].array(numbers.subarray(0, count) as never);
  const values = new Int32Array(count);
  for (let i = 0; i < count; i++) values[i] = numbers[i]! * 65536 + numbers[elements + i]!;
  return values;
}
