import type { Recall } from "../ambient.ts";
import { AutogradError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { SavedTensor } from "./saved.ts";

/**
 * What code that runs twice has remembered in its first run (`engine.remember`): tensors by section and, in a section,
 * in the order of the calls. Sections are for second runs that go through the parts in another order.
 */
export class ReplayLog {
  readonly #owner: string;
  readonly #sections = new Map<number, SavedTensor[]>();

  constructor(owner: string) {
    this.#owner = owner;
  }

  /** For the first run. `around` is the memory of the computation around it, which may itself be a second run. */
  recorder(around: Recall | undefined, section = 0): Recall {
    return {
      next: (make) => {
        const value = around === undefined ? make() : around.next(make);
        this.#list(section).push(new SavedTensor(value, this.#owner));
        return value;
      },
      section: (index) => this.recorder(around, index),
    };
  }

  /** For a second run, from the first value of the section on. */
  player(section = 0): Recall {
    let at = 0;
    return {
      next: () => {
        const saved = this.#list(section)[at++];
        if (saved !== undefined) return saved.open();
        throw new AutogradError(
          this.#owner,
          `its second run asks for remembered value ${at}, the first run left ${at - 1}`,
          "make the same calls of engine.remember in every run: what decides about them must be deterministic",
        );
      },
      section: (index) => this.player(index),
    };
  }

  release(): void {
    for (const list of this.#sections.values()) for (const s of list) s.release();
    this.#sections.clear();
  }

  #list(section: number): SavedTensor[] {
    let list = this.#sections.get(section);
    if (list === undefined) {
      list = [];
      this.#sections.set(section, list);
    }
    return list;
  }
}

/** A value that leaves the graph: what is remembered is a decision, not a number to differentiate. */
export const decision = (t: Tensor): Tensor => (t.edge === undefined ? t : t.detach());
