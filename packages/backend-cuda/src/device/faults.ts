import { ValueError } from "@revnet-zero/tensor";
import type { NativeCuda } from "./binding.ts";

/** The ops that check an index, by the number their kernels note (gather.cu, scatter.cu). */
const ops = ["take", "takeAlong", "scatterAdd", "scatterAddAlong", "crossEntropy"] as const;

/** What kernels note in host memory when an index names no place: a kernel cannot throw, so the next wait does. */
export class Faults {
  /** For kernels. */
  readonly address: number;
  readonly #note: Int32Array;

  constructor(native: NativeCuda) {
    const [buffer, address] = native.mapped(64);
    this.#note = new Int32Array(buffer, 0, 4);
    this.address = address;
  }

  /** Throws what was noted since the last call. Only after the device has been waited for. */
  check(): void {
    if (this.#note[0] === 0) return;
    const [, index, places, op] = this.#note;
    this.#note.fill(0);
    throw new ValueError(
      ops[op!]!,
      `index ${index} names none of ${places} places`,
      "indices count from 0; check the vocabulary or axis size (found at this read; the op ran earlier)",
    );
  }
}
