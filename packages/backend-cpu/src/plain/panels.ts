import { TILE } from "./microkernel.ts";

/** Lines of the packed form, rounded up to whole panels. */
export const padded = (lines: number): number => Math.ceil(lines / TILE) * TILE;

/** A float64 buffer of at least `length`, the given one where it is long enough. */
export function grown(buffer: Float64Array, length: number): Float64Array {
  return buffer.length < length ? new Float64Array(length) : buffer;
}

/** Where `count` lines of `k` elements lie in memory. */
export interface Lines {
  readonly start: number;
  readonly count: number;
  readonly lineStep: number;
  readonly k: number;
  readonly kStep: number;
}

/**
 * Copies lines into panels of TILE, in float64 and zero-padded: panel, then k, then line. Packing converts once and
 * makes all strides equal; the micro-kernel reads nothing else.
 */
export function pack(
  target: Float64Array,
  source: ArrayLike<number>,
  { start, count, lineStep, k, kStep }: Lines,
  decode?: (word: number) => number,
): void {
  for (let line = 0; line < count; line++) {
    let to = Math.floor(line / TILE) * TILE * k + (line % TILE);
    let from = start + line * lineStep;
    for (let p = 0; p < k; p++) {
      target[to] = decode === undefined ? source[from]! : decode(source[from]!);
      to += TILE;
      from += kStep;
    }
  }
  for (let line = count; line % TILE !== 0; line++) {
    for (let p = 0; p < k; p++) target[(Math.floor(line / TILE) * k + p) * TILE + (line % TILE)] = 0;
  }
}
