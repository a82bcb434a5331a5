import { type Tensor, tensor, ValueError } from "@revnet-zero/tensor";
import { fractionBitsFor } from "./range.ts";

/** What a mode's numbers can hold. */
export interface NumberFormat {
  /** Bits that hold the size of a stream's number. Left out: floats, which have no binary point. */
  readonly magnitudeBits?: number | undefined;
  /** Bits after the point where the user names none; left out, they follow from a measured range. */
  readonly usualFractionBits?: number | undefined;
}

/** Bits that hold the size of an int16. */
export const NARROW_BITS = 15;

export type FractionBits = number | "auto" | undefined;

/** Whether the point of a format follows from a measured range, given what the user has named. */
export const isMeasured = (given: FractionBits, { magnitudeBits, usualFractionBits }: NumberFormat): boolean =>
  magnitudeBits !== undefined && (given ?? usualFractionBits ?? "auto") === "auto";

export function checkFractionBits(given: FractionBits): FractionBits {
  if (typeof given !== "number" || (Number.isInteger(given) && given >= 0 && given <= 30)) return given;
  throw new ValueError("ReversibleSequence", `fractionBits is ${given}`, 'use an integer from 0 to 30, or "auto"');
}

/** Where the binary point of a sequence's streams is: as named, as usual, or from how large the streams were measured to get. */
export class BinaryPoint {
  /** Largest magnitudes that streams were measured to have, [] or [channels]; 0 before. */
  readonly range: Tensor;
  /** What int16 streams multiply values by, powers of two, of the range's shape. */
  readonly scales: Tensor;
  readonly #given: FractionBits;
  /** The range on the host, and the version of the tensor it was read from. */
  #known: { readonly version: number; readonly largest: number } | undefined;

  /** The tensors are the caller's, and written in place. */
  constructor(given: FractionBits, range: Tensor, scales: Tensor) {
    this.#given = given;
    this.range = range;
    this.scales = scales;
    if (typeof given === "number") this.#assign(scales, new Array<number>(scales.size).fill(2 ** given));
  }

  /** Whether the point follows from a measured range. */
  isMeasured(format: NumberFormat): boolean {
    return isMeasured(this.#given, format);
  }

  /** Bits after the point; an error where they are to be measured and were not. */
  fractionBits(format: NumberFormat): number {
    if (!this.isMeasured(format))
      return typeof this.#given === "number" ? this.#given : (format.usualFractionBits ?? 20);
    if (!this.isKnown) {
      throw new ValueError(
        "ReversibleSequence",
        "the binary point follows from the streams' range, which was not measured yet",
        "await sequence.calibrate(...streams) first, or name fractionBits",
      );
    }
    return fractionBitsFor(this.#known!.largest, format.magnitudeBits!);
  }

  /** Whether a range was measured, or loaded with the parameters. */
  get isKnown(): boolean {
    const { engine, storage } = this.range;
    if (this.#known?.version !== storage.version && engine.backend.isSynchronous) {
      const values = this.range.dataSync();
      this.#known = undefined;
      if (values.some((v) => v > 0)) this.#note(values);
    }
    return this.#known !== undefined;
  }

  /** Takes what was measured. */
  take(values: ArrayLike<number>): void {
    for (const largest of Array.from(values)) fractionBitsFor(largest, NARROW_BITS);
    this.#assign(this.range, values);
    this.#note(values);
  }

  #note(values: ArrayLike<number>): void {
    this.#known = { version: this.range.storage.version, largest: Math.max(...Array.from(values)) };
    const scales = Array.from(values, (largest) => 2 ** fractionBitsFor(largest, NARROW_BITS));
    if (typeof this.#given !== "number") this.#assign(this.scales, scales);
  }

  #assign(target: Tensor, values: ArrayLike<number>): void {
    const { engine, shape } = target;
    engine.scope(() => {
      target.assign(tensor(Float32Array.from(values), { shape, engine }));
    });
  }
}
