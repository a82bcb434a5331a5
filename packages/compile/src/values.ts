import type { Key, TypedArray } from "@revnet-zero/tensor";
import { Keys } from "./keys.ts";
import type { Instruction, Program } from "./program.ts";

/** What is another at every call of a recording: keys of random numbers, and numbers of the host. */
export interface Values {
  readonly keys: readonly Key[];
  readonly words: ReadonlyMap<Instruction, TypedArray>;
}

/** Where a program's values come from. */
export class ValueSource {
  readonly keys: Keys;
  readonly #makers: readonly (readonly [Instruction, () => TypedArray])[];

  constructor({ keyOf, instructions }: Program) {
    this.keys = new Keys(keyOf);
    this.#makers = instructions.flatMap((x) => (x.kind === "values" ? [[x, x.make] as const] : []));
  }

  /** Those of one call: hosts count their calls, so ask once. */
  next(root: Key | undefined): Values {
    return { keys: this.keys.from(root), words: new Map(this.#makers.map(([x, make]) => [x, make()])) };
  }
}
