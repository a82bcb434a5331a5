/** A byte-level model needs no tokenizer: a token is a byte of the UTF-8 text. */
export const byteVocabularySize = 256;

/**
 * The tokens of a text: its UTF-8 bytes.
 *
 * ```ts
 * import { encodeBytes } from "@revnet-zero/data";
 * encodeBytes("Ahab"); // => Uint8Array(4) [ 65, 104, 97, 98 ]
 * ```
 */
export function encodeBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/**
 * The text of tokens (integers 0 to 255). A model may produce bytes that are no UTF-8: those become U+FFFD, so that
 * every sample can be shown.
 */
export function decodeBytes(tokens: ArrayLike<number>): string {
  return new TextDecoder().decode(Uint8Array.from(tokens));
}
