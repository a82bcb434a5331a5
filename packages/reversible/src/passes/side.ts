import type { Engine, Tensor } from "@revnet-zero/tensor";

/** What the steps of one pass remember for their inverses: a stack of tensors that no scope owns. */
export class SideInformation {
  readonly #engine: Engine;
  readonly #stack: Tensor[];
  readonly #keeps: boolean;

  /** `keeps: false` for passes that nobody will undo: what is pushed is freed at once. */
  constructor(engine: Engine, { keeps = true, tensors = [] }: { keeps?: boolean; tensors?: readonly Tensor[] } = {}) {
    this.#engine = engine;
    this.#keeps = keeps;
    this.#stack = [...tensors];
  }

  push(...tensors: readonly Tensor[]): void {
    for (const t of tensors) {
      if (this.#keeps) this.#stack.push(this.#engine.keep(t));
      else t.dispose();
    }
  }

  /** The tensor pushed last, now the innermost scope's. */
  pop(): Tensor {
    const t = this.#stack.pop();
    if (t === undefined)
      throw new Error("reversible: an inverse takes more side information than its forward pass left");
    return this.#engine.adopt(t);
  }

  /** All that is there, oldest first. */
  get tensors(): readonly Tensor[] {
    return this.#stack;
  }

  dispose(): void {
    for (const t of this.#stack) t.dispose();
    this.#stack.length = 0;
  }
}
