import { dtypes, type Tensor, type TypedArray } from "@revnet-zero/tensor";

const wordsOf = (a: TypedArray): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

function hex(a: TypedArray, i: number): string {
  const size = a.BYTES_PER_ELEMENT;
  const bytes = wordsOf(a).subarray(i * size, (i + 1) * size);
  return `0x${[...bytes]
    .reverse()
    .map((b) => b.toString(16).padStart(2, "0"))
    .join("")}`;
}

/** Where two arrays first differ in a bit, as a sentence; undefined where they do not. NaNs of other bits differ. */
export function firstDifference(actual: TypedArray, expected: TypedArray): string | undefined {
  const [a, b] = [actual.constructor.name, expected.constructor.name];
  if (a !== b) return `the actual value is a ${a}, expected a ${b}`;
  if (actual.length !== expected.length) return `${actual.length} elements, expected ${expected.length}`;
  const [x, y] = [wordsOf(actual), wordsOf(expected)];
  const at = x.findIndex((byte, i) => byte !== y[i]);
  if (at < 0) return undefined;
  const i = Math.floor(at / actual.BYTES_PER_ELEMENT);
  return `element ${i} of ${actual.length} is ${actual[i]} (${hex(actual, i)}), expected ${expected[i]} (${hex(expected, i)})`;
}

/** Throws unless two arrays have the same type, length and bits. */
export function expectBitEqual(actual: TypedArray, expected: TypedArray, what = "values"): void {
  const difference = firstDifference(actual, expected);
  if (difference !== undefined) throw new Error(`${what} differ: ${difference}`);
}

/** Throws unless two tensors have the same shape, dtype and bits. */
export async function expectBitEqualTensors(actual: Tensor, expected: Tensor, what = "tensors"): Promise<void> {
  const name = (t: Tensor): string => `[${t.shape.join(", ")}] ${t.dtype}`;
  if (name(actual) !== name(expected)) throw new Error(`${what} differ: ${name(actual)}, expected ${name(expected)}`);
  expectBitEqual(await actual.data(), await expected.data(), what);
}

/** Bytes that `shape` of `dtype` takes. */
export const bytesOf = (t: { readonly shape: readonly number[]; readonly dtype: keyof typeof dtypes }): number =>
  t.shape.reduce((a, b) => a * b, 1) * dtypes[t.dtype].bytes;
