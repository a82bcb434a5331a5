import { RevNetError, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { StreamArithmetic } from "./arithmetic/arithmetic.ts";
import type { PlacedBlock } from "./block.ts";

/** Streams of a second run that do not have the bits of the first. */
export class ReconstructionError extends RevNetError {
  override name = "ReconstructionError";
}

/**
 * How much of every block's input is kept, in JavaScript's own memory, to check the second run by: `sums`, three words a
 * row (the last axis) and stream, which name the first row that differs, and the element where it is one; `values`, all of
 * it, which names the first element always.
 */
export type CheckLevel = "sums" | "values";

interface Snapshot {
  /** The first difference, in words, or undefined. */
  difference(words: Int32Array): string | undefined;
}

/** Notes the bits of streams in a first run, and compares them in the second. */
export class BlockChecks {
  readonly #level: CheckLevel;
  readonly #numStreams: number;
  readonly #notes = new Map<string, Snapshot>();

  constructor(level: CheckLevel, numStreams: number, { isExact, name }: StreamArithmetic) {
    if (!isExact) {
      throw new ValueError(
        "ReversibleSequence",
        `${name} come back with other bits than they had: there is nothing to check`,
        "use an exact mode; drift() says how far float streams have drifted",
      );
    }
    this.#level = level;
    this.#numStreams = numStreams;
  }

  /** The streams (by slot, buffers behind them) at the start or end of a block. */
  note(place: string, streams: readonly Tensor[]): void {
    for (const [slot, t] of streams.entries()) {
      const words = wordsOf(t);
      this.#notes.set(
        `${place} ${slot}`,
        this.#level === "values" ? new Values(words, t.shape) : new RowSums(words, t.shape),
      );
    }
  }

  /** Throws where the streams are not those noted at this place. `order` says which slot each stream has. */
  compare(place: string, streams: readonly Tensor[], order: readonly number[]): void {
    for (const [slot, t] of streams.entries()) {
      const difference = this.#notes.get(`${place} ${slot}`)?.difference(wordsOf(t));
      if (difference === undefined) continue;
      const stream = order.indexOf(slot % this.#numStreams);
      const what = slot < this.#numStreams ? `stream ${stream}` : `information buffer of stream ${stream}`;
      throw new ReconstructionError(
        "reversible",
        `${what} at the ${place} did not come back as it was: ${difference}`,
        "a branch after this place is not its own twin: randomness without the engine's keys, a state that it carries on, " +
          "or tensors changed in between (checkReversible looks at a sequence alone)",
      );
    }
  }
}

export const startOf = ({ index }: PlacedBlock): string => `start of block ${index}`;
export const endOf = ({ index }: PlacedBlock): string => `end of block ${index}`;

function wordsOf(t: Tensor): Int32Array {
  const data = t.dataSync();
  // Narrow words keep their values, which are their bits.
  return data.BYTES_PER_ELEMENT === 4
    ? new Int32Array(data.buffer, data.byteOffset, data.length)
    : Int32Array.from(data);
}

/** `[1, 0, 5]` */
function positionOf(element: number, shape: readonly number[]): string {
  const at: number[] = [];
  let left = element;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at.unshift(left % shape[axis]!);
    left = Math.floor(left / shape[axis]!);
  }
  return `[${at.join(", ")}]`;
}

class Values implements Snapshot {
  readonly #words: Int32Array;
  readonly #shape: readonly number[];

  constructor(words: Int32Array, shape: readonly number[]) {
    this.#words = words;
    this.#shape = shape;
  }

  difference(found: Int32Array): string | undefined {
    const i = found.findIndex((w, at) => w !== this.#words[at]);
    if (i < 0) return undefined;
    return `element ${positionOf(i, this.#shape)} is the word ${found[i]}, it was ${this.#words[i]}`;
  }
}

/**
 * Sums of a row's words, modulo 2^32, with three odd weights (which lose no bit): 1, 2i + 1, and a hash of i. The first two
 * say which element differs if it is one; the third, whether it is one.
 */
const weights = [(_: number) => 1, (i: number) => 2 * i + 1, (i: number) => mix(i) | 1];

/** A hash of 32 bits. Source: MurmurHash3's finalizer (A. Appleby, public domain). */
function mix(i: number): number {
  let h = i + 1;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

class RowSums implements Snapshot {
  readonly #sums: Int32Array;
  readonly #shape: readonly number[];
  readonly #rowSize: number;

  constructor(words: Int32Array, shape: readonly number[]) {
    this.#shape = shape;
    this.#rowSize = shape.at(-1) ?? 1;
    this.#sums = rowSums(words, this.#rowSize);
  }

  difference(found: Int32Array): string | undefined {
    const [rowSize, sums] = [this.#rowSize, rowSums(found, this.#rowSize)];
    const at = sums.findIndex((s, i) => s !== this.#sums[i]);
    if (at < 0) return undefined;
    const row = Math.floor(at / weights.length);
    const changes = weights.map(
      (_, k) => (sums[weights.length * row + k]! - this.#sums[weights.length * row + k]!) | 0,
    );
    const change = changes[0]!;
    for (let i = 0; i < rowSize; i++) {
      if (!weights.every((weight, k) => Math.imul(weight(i), change) === changes[k])) continue;
      const element = row * rowSize + i;
      return `element ${positionOf(element, this.#shape)} is the word ${found[element]}, it was ${(found[element]! - change) | 0}`;
    }
    const [from, to] = [row * rowSize, (row + 1) * rowSize - 1].map((i) => positionOf(i, this.#shape));
    return `several elements of the row from ${from} to ${to} differ, and none before it (check: "values" names the first)`;
  }
}

function rowSums(words: Int32Array, rowSize: number): Int32Array {
  const sums = new Int32Array(weights.length * Math.ceil(words.length / rowSize));
  for (let i = 0; i < rowSize; i++) {
    for (const [k, weight] of weights.entries()) {
      const w = weight(i);
      for (let row = 0, at = i; at < words.length; row++, at += rowSize) {
        const slot = weights.length * row + k;
        sums[slot] = (sums[slot]! + Math.imul(w, words[at]!)) | 0;
      }
    }
  }
  return sums;
}
