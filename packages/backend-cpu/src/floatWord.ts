const words = new Int32Array(1);
const floats = new Float32Array(words.buffer);

/** The word that holds a number as float32. */
export function bitsOf(v: number): number {
  floats[0] = v;
  return words[0]!;
}

/** The float32 that a word holds. */
export function floatOf(word: number): number {
  words[0] = word;
  return floats[0]!;
}
