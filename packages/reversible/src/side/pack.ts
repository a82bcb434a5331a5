import { arange, type Tensor } from "@revnet-zero/tensor";

const WORD = 32;

/** Where each of a word's codes begins. */
const shifts = ({ engine }: Tensor, width: number): Tensor => arange(WORD / width, { engine }).mul(width);

/** Codes of `width` bits (1, 2, 4, 8 or 16), i32, as many a word as fit, in row-major order. */
export function packCodes(codes: Tensor, width: number): Tensor {
  return codes.engine.scope(() => {
    const perWord = WORD / width;
    const missing = (perWord - (codes.size % perWord)) % perWord;
    const flat = codes.flatten();
    const padded = missing === 0 ? flat : flat.concat([flat.fullOf([missing], 0)], 0);
    // No two codes share a bit, so that the sum, modulo 2^32, is their union.
    return padded.reshape([-1, perWord]).shiftLeft(shifts(codes, width)).sum(1);
  });
}

/** The first `size` codes, [size]. */
export function unpackCodes(words: Tensor, width: number, size: number): Tensor {
  return words.engine.scope(() =>
    words
      .reshape([-1, 1])
      .shiftRight(shifts(words, width))
      .bitwiseAnd(2 ** width - 1)
      .flatten()
      .narrow(0, 0, size),
  );
}
