import { dtypes } from "@revnet-zero/tensor";
import type { Instruction, Slot } from "./program.ts";

type MadeSlot = Slot & { readonly kind: "made" };

const bytesOf = ({ dtype, elements }: MadeSlot): number => elements * dtypes[dtype].bytes;

/** What buffers that a program makes need, instruction by instruction, while instructions are joined: joining must not raise the highest. */
export class Liveness {
  /** Live bytes at each instruction. */
  readonly #bytes: Float64Array;
  readonly #last = new Map<Slot, number>();
  readonly #most: number;

  constructor(instructions: readonly (Instruction | undefined)[], returned: ReadonlySet<Slot>) {
    const first = new Map<Slot, number>();
    for (const [i, instruction] of instructions.entries())
      for (const { slot } of [...(instruction?.inputs ?? []), ...(instruction?.outputs ?? [])]) {
        if (!first.has(slot)) first.set(slot, i);
        this.#last.set(slot, returned.has(slot) ? instructions.length - 1 : i);
      }
    this.#bytes = new Float64Array(instructions.length);
    for (const [slot, start] of first) if (slot.kind === "made") this.#change(slot, start, this.#last.get(slot)!, 1);
    this.#most = this.#bytes.reduce((a, b) => Math.max(a, b), 0);
  }

  #change(slot: MadeSlot, from: number, to: number, sign: 1 | -1): void {
    for (let k = from; k <= to; k++) this.#bytes[k]! += sign * bytesOf(slot);
  }

  /**
   * Lets what instruction i reads live until j, and what it wrote, `value`, not be made. False, and nothing is changed, where that would
   * need more than the program did.
   */
  join(i: number, j: number, reads: readonly Slot[], value: Slot | undefined): boolean {
    const longer = [...new Set(reads)].flatMap((slot) => {
      const last = this.#last.get(slot)!;
      return slot.kind === "made" && last < j ? [[slot, last] as const] : [];
    });
    if (value?.kind === "made") this.#change(value, i, j, -1);
    for (const [slot, last] of longer) this.#change(slot, last + 1, j, 1);
    let most = 0;
    for (let k = i; k <= j; k++) most = Math.max(most, this.#bytes[k]!);
    if (most <= this.#most) {
      for (const [slot] of longer) this.#last.set(slot, j);
      return true;
    }
    for (const [slot, last] of longer) this.#change(slot, last + 1, j, -1);
    if (value?.kind === "made") this.#change(value, i, j, 1);
    return false;
  }
}
