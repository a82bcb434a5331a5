/** By what a text is known again. */
export interface TextMark {
  readonly bytes: number;
  /** FNV-1a of all bytes, 32 bits in hexadecimal: against mistakes, not against forgery. */
  readonly fnv1a: string;
}

/**
 * Length and hash of a text.
 * Source: Fowler, Noll, Vo 1991, "The FNV Non-Cryptographic Hash Algorithm", variant 1a of 32 bits.
 */
export function markText(text: Uint8Array): TextMark {
  let hash = 0x811c9dc5;
  for (const byte of text) hash = Math.imul(hash ^ byte, 0x01000193);
  return { bytes: text.length, fnv1a: (hash >>> 0).toString(16).padStart(8, "0") };
}
