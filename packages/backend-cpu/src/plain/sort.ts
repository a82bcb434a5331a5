import { isFloat, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { around, dense, store } from "../buffer.ts";
import { referenceKernels } from "../reference/index.ts";

const LAST = 0xffffffff;
/** Up to here an insertion is faster than counting digits. */
const FEW = 40;

/** Unsigned words in the order of the values, both zeros alike and NaN last, ascending or descending. */
function keysOf(values: Float64Array, isFloating: boolean, descending: boolean): Uint32Array {
  const keys = new Uint32Array(values.length);
  const words = new Int32Array(keys.buffer);
  if (isFloating) new Float32Array(keys.buffer).set(values);
  else words.set(values);
  const flip = descending ? -1 : 0;
  for (let i = 0; i < keys.length; i++) {
    const word = words[i]!;
    const v = values[i]!;
    // Negative floats count down: all bits but the sign's are turned, then the sign's in every number.
    const ascending = isFloating && v <= 0 ? (v === 0 ? 0 : word ^ 0x7fffffff) : word;
    keys[i] = Number.isNaN(v) ? LAST : ascending ^ 0x80000000 ^ flip;
  }
  return keys;
}

/** Sorts positions by 32-bit keys, stably: by insertion, or digit by digit of eight bits, lowest first. */
class Sorter {
  readonly #size: number;
  readonly #counts = new Int32Array(4 * 256);
  #keys: Uint32Array;
  #places: Int32Array;
  #nextKeys: Uint32Array;
  #nextPlaces: Int32Array;

  constructor(size: number) {
    this.#size = size;
    [this.#keys, this.#nextKeys] = [new Uint32Array(size), new Uint32Array(size)];
    [this.#places, this.#nextPlaces] = [new Int32Array(size), new Int32Array(size)];
  }

  /** The positions in order of the keys that start at `at`, `step` apart; valid until the next call. */
  sort(all: Uint32Array, at: number, step: number): Int32Array {
    for (let k = 0; k < this.#size; k++) {
      this.#keys[k] = all[at + k * step]!;
      this.#places[k] = k;
    }
    if (this.#size <= FEW) this.#insert();
    else this.#countDigits();
    return this.#places;
  }

  #insert(): void {
    const [keys, places] = [this.#keys, this.#places];
    for (let k = 1; k < keys.length; k++) {
      const key = keys[k]!;
      let j = k;
      for (; j > 0 && keys[j - 1]! > key; j--) {
        keys[j] = keys[j - 1]!;
        places[j] = places[j - 1]!;
      }
      keys[j] = key;
      places[j] = k;
    }
  }

  #countDigits(): void {
    const counts = this.#counts.fill(0);
    for (const key of this.#keys)
      for (let digit = 0; digit < 4; digit++) counts[256 * digit + ((key >>> (8 * digit)) & 255)]!++;
    for (let digit = 0; digit < 4; digit++) this.#pass(counts.subarray(256 * digit, 256 * digit + 256), 8 * digit);
  }

  #pass(counts: Int32Array, shift: number): void {
    const [keys, places, nextKeys, nextPlaces] = [this.#keys, this.#places, this.#nextKeys, this.#nextPlaces];
    if (counts[(keys[0]! >>> shift) & 255] === keys.length) return; // one digit in all
    let start = 0;
    for (let d = 0; d < 256; d++) {
      const count = counts[d]!;
      counts[d] = start;
      start += count;
    }
    for (let k = 0; k < keys.length; k++) {
      const key = keys[k]!;
      const to = counts[(key >>> shift) & 255]!++;
      nextKeys[to] = key;
      nextPlaces[to] = places[k]!;
    }
    [this.#keys, this.#nextKeys] = [nextKeys, keys];
    [this.#places, this.#nextPlaces] = [nextPlaces, places];
  }
}

/** Stable radix sort on order-preserving keys, in time proportional to the elements; float64 is the reference's. */
export const sortKernel: Pick<PrimitiveKernels<TypedArray>, "sort"> = {
  sort: {
    run: ([x], [values, indices], attrs) => {
      if (x!.dtype === "f64") {
        referenceKernels.sort.run([x!], [values!, indices!], attrs);
        return;
      }
      const { outer, size, inner } = around(x!.shape, attrs.axis);
      const source = dense(x!);
      const keys = keysOf(source, isFloat(x!.dtype), attrs.descending);
      const sorted = new Float64Array(source.length);
      const sorter = new Sorter(size);
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) {
          const first = o * size * inner + i;
          const places = sorter.sort(keys, first, inner);
          for (let k = 0; k < size; k++) {
            const to = first + k * inner;
            sorted[to] = source[first + places[k]! * inner]!;
            indices!.data[to] = places[k]!;
          }
        }
      store(values!, sorted);
    },
  },
};
