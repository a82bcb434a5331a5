import { DataError } from "./dataError.ts";

// What a model must beat: how well bytes are predicted by counting alone. All results are in bits per byte, so 8 is knowing
// nothing; a cross-entropy loss in nats is turned into the same unit by `natsToBits`.

const symbols = 256;

/** Bits of a quantity of information given in nats, as losses are: divided by ln 2. */
export function natsToBits(nats: number): number {
  return nats / Math.LN2;
}

/** Entropy of single bytes, H(X) = -sum p(x) log2 p(x): what the best code that ignores context needs. 0 to 8 bits per byte. */
export function unigramEntropy(bytes: Uint8Array): number {
  checkLength("unigramEntropy", bytes, 1);
  return entropyOf(countBytes(bytes), bytes.length);
}

/**
 * Entropy of a byte given the one before it, H(X2 | X1) = H(X1, X2) - H(X1), over all neighbours in the text.
 * 0 to 8 bits per byte.
 */
export function bigramEntropy(bytes: Uint8Array): number {
  checkLength("bigramEntropy", bytes, 2);
  const pairs = countPairs(bytes);
  const firsts = countBytes(bytes.subarray(0, -1));
  // Rounding may leave -1e-16 where the next byte is certain.
  return Math.max(0, entropyOf(pairs, bytes.length - 1) - entropyOf(firsts, bytes.length - 1));
}

/**
 * Bits per byte of held-out text under the byte frequencies of the training text, every count raised by one so that an
 * unseen byte costs a finite amount (Laplace's rule).
 */
export function unigramCrossEntropy(train: Uint8Array, heldOut: Uint8Array): number {
  checkLength("unigramCrossEntropy", heldOut, 1);
  const counts = countBytes(train);
  let bits = 0;
  for (const byte of heldOut) bits -= Math.log2((counts[byte]! + 1) / (train.length + symbols));
  return bits / heldOut.length;
}

/**
 * Bits per byte of held-out text, its first byte left out, when each byte is predicted from the one before by the pair
 * frequencies of the training text, every count raised by one (Laplace's rule).
 */
export function bigramCrossEntropy(train: Uint8Array, heldOut: Uint8Array): number {
  checkLength("bigramCrossEntropy", heldOut, 2);
  const pairs = countPairs(train);
  const firsts = countBytes(train.subarray(0, -1));
  let bits = 0;
  for (let i = 1; i < heldOut.length; i++) {
    const before = heldOut[i - 1]!;
    bits -= Math.log2((pairs[before * symbols + heldOut[i]!]! + 1) / (firsts[before]! + symbols));
  }
  return bits / (heldOut.length - 1);
}

function countBytes(bytes: Uint8Array): Float64Array {
  const counts = new Float64Array(symbols);
  for (const byte of bytes) counts[byte]!++;
  return counts;
}

/** [256, 256]: how often the second byte follows the first. */
function countPairs(bytes: Uint8Array): Float64Array {
  const counts = new Float64Array(symbols * symbols);
  for (let i = 1; i < bytes.length; i++) counts[bytes[i - 1]! * symbols + bytes[i]!]!++;
  return counts;
}

/** Entropy in bits of the distribution counts / total. */
function entropyOf(counts: Float64Array, total: number): number {
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= (count / total) * Math.log2(count / total);
  return bits;
}

function checkLength(op: string, bytes: Uint8Array, least: number): void {
  if (bytes.length >= least) return;
  throw new DataError(op, `the text has ${bytes.length} bytes`, `it needs at least ${least}`);
}
