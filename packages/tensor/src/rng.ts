/**
 * Philox4x32-10, the counter-based generator of every random number in the library.
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3 and its known-answer file.
 * No state: the same key and counter give the same bits on every backend, whatever the order of calls.
 */

import { ValueError } from "./errors.ts";

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

export type Words4 = readonly [number, number, number, number];

/**
 * High 32 bits of the 64-bit product of two 32-bit words, taken as unsigned, given as a signed word. By halves: no
 * partial sum leaves 32 bits, so that integer arithmetic does all of it.
 */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aLow, bHigh) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const cross = (Math.imul(aHigh, bLow) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (cross >>> 16)) | 0;
}

/** One block: four unsigned 32-bit words from a 128-bit counter and a 64-bit key. */
export function philox4x32(counter: Words4, key: readonly [number, number]): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(M0, c0);
    const l0 = Math.imul(M0, c0) >>> 0;
    const h1 = mulHigh(M1, c2);
    const l1 = Math.imul(M1, c2) >>> 0;
    c0 = (h1 ^ c1 ^ k0) >>> 0;
    c1 = l1;
    c2 = (h0 ^ c3 ^ k1) >>> 0;
    c3 = l0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A 64-bit generator key. Plain data, so it can be stored in a checkpoint and in op attributes. */
export type Key = readonly [number, number];

/** The root key of a run. `seed` is an integer of up to 53 bits. */
export function randomKey(seed: number): Key {
  if (!Number.isSafeInteger(seed))
    throw new ValueError("randomKey", `the seed is ${seed}`, "use an integer of up to 53 bits");
  return [seed >>> 0, Math.floor(seed / 4294967296) >>> 0];
}

/** Two unsigned words: fractions would be cut off, so that two keys gave one stream. */
export function checkKey(op: string, key: Key): void {
  // A word alone: this is called for every dropout and every folded key.
  const isWord = (w: unknown): boolean => (w as number) >>> 0 === w;
  if (Array.isArray(key) && key.length === 2 && isWord(key[0]) && isWord(key[1])) return;
  throw new ValueError(
    op,
    `the generator key is ${Array.isArray(key) ? `[${key.join(", ")}]` : String(key)}`,
    "make keys with randomKey(seed) and foldKey(key, n), or from two whole numbers below 2^32",
  );
}

/**
 * A key derived from another and one integer of data: `foldKey(foldKey(root, step), layer)`. The derivation is a Philox
 * block of its own (marked in the counter's last word), so derived streams do not overlap the parent's numbers.
 */
export function foldKey(key: Key, data: number): Key {
  checkKey("foldKey", key);
  if (!Number.isSafeInteger(data))
    throw new ValueError("foldKey", `the number folded in is ${data}`, "use an integer of up to 53 bits");
  const [a, b] = philox4x32([data >>> 0, Math.floor(data / 4294967296) >>> 0, 0, 0x6b657964], key);
  const derived: Key = [a, b];
  derivations?.set(derived, { parent: key, data });
  return derived;
}

/** How a key was made by `foldKey`. */
export interface KeyDerivation {
  readonly parent: Key;
  readonly data: number;
}

let derivations: Map<Key, KeyDerivation> | undefined;

/** @internal Runs `f` and notes how every key was derived in it: the array itself says which key it is, not its numbers. */
export function traceKeys<T>(into: Map<Key, KeyDerivation>, f: () => T): T {
  const before = derivations;
  derivations = into;
  try {
    return f();
  } finally {
    derivations = before;
  }
}

/** Word `index` of the stream of `key` as an unsigned 32-bit integer: word `index % 4` of block `index / 4`. */
export function randomWord(key: Key, index: number): number {
  const block = Math.floor(index / 4);
  return philox4x32([block >>> 0, Math.floor(block / 4294967296) >>> 0, 0, 0], key)[index % 4]!;
}

/**
 * Fills `out` with the first words of the stream of `key` (as signed words, the form `randomBits` has). The rounds of
 * `philox4x32` written out for speed; a test holds the two together.
 */
export function fillRandomBits(out: Int32Array, key: Key): void {
  const key0 = key[0] | 0;
  const key1 = key[1] | 0;
  for (let at = 0, block = 0; at < out.length; at += 4, block++) {
    let c0 = block | 0;
    let c1 = Math.floor(block / 4294967296) | 0;
    let c2 = 0;
    let c3 = 0;
    let k0 = key0;
    let k1 = key1;
    for (let round = 0; round < 10; round++) {
      const h0 = mulHigh(c0, M0);
      const h1 = mulHigh(c2, M1);
      const l0 = Math.imul(M0, c0);
      const l1 = Math.imul(M1, c2);
      c0 = h1 ^ c1 ^ k0;
      c1 = l1;
      c2 = h0 ^ c3 ^ k1;
      c3 = l0;
      k0 = (k0 + W0) | 0;
      k1 = (k1 + W1) | 0;
    }
    out[at] = c0;
    // Writes beyond the end of a typed array do nothing.
    out[at + 1] = c1;
    out[at + 2] = c2;
    out[at + 3] = c3;
  }
}
