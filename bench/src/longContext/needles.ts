import { foldKey, type Key, randomKey, randomWord } from "@revnet-zero/tensor";

// Needles in a haystack of real text: a needle is one token that names a key and a value, put over a byte somewhere in the text; at the end the
// sequence asks for each key in turn, and the token after a question is its value. Several needles and questions in one sequence.

export const needles = { keys: 4, values: 8 } as const;
const FIRST_NEEDLE = 256;
const FIRST_QUESTION = FIRST_NEEDLE + needles.keys * needles.values;
const FIRST_ANSWER = FIRST_QUESTION + needles.keys;
/** Bytes, needles, questions, answers. */
export const vocabulary: number = FIRST_ANSWER + needles.values;

export interface NeedleBatch {
  /** [batchSize, length] */
  readonly tokens: Int32Array;
  /** [batchSize, length]: a question's answer, -1 everywhere else. */
  readonly targets: Int32Array;
  /** How many tokens lie between a question and its needle; 0 where there is no question. */
  readonly distances: Int32Array;
}

/** A batch that follows from the key alone. Questions and answers alternate at the end. */
export function needleBatch(text: Uint8Array, batchSize: number, length: number, key: Key): NeedleBatch {
  const tokens = new Int32Array(batchSize * length);
  const targets = new Int32Array(batchSize * length).fill(-1);
  const distances = new Int32Array(batchSize * length);
  const { keys, values } = needles;
  const haystack = length - 2 * keys;
  for (let row = 0; row < batchSize; row++) {
    let drawn = 0;
    const own = foldKey(key, row);
    const below = (n: number): number => Math.floor(((randomWord(own, drawn++) >>> 0) / 2 ** 32) * n);
    const start = below(text.length - haystack);
    const at = row * length;
    tokens.set(text.subarray(start, start + haystack), at);
    const places = new Set<number>();
    while (places.size < keys) places.add(below(haystack));
    const value = Array.from({ length: keys }, () => below(values));
    const placeOf = [...places];
    for (const [k, place] of placeOf.entries()) tokens[at + place] = FIRST_NEEDLE + k * values + value[k]!;
    const order = shuffled(keys, below);
    for (const [i, k] of order.entries()) {
      const question = haystack + 2 * i;
      tokens[at + question] = FIRST_QUESTION + k;
      tokens[at + question + 1] = FIRST_ANSWER + value[k]!;
      targets[at + question] = FIRST_ANSWER + value[k]!;
      distances[at + question] = question - placeOf[k]!;
    }
  }
  return { tokens, targets, distances };
}

function shuffled(n: number, below: (n: number) => number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

export const batchKey = (seed: number, step: number): Key => foldKey(foldKey(randomKey(seed), 17), step);
