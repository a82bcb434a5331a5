import { readEnvironment } from "@revnet-zero/tensor";
import type { TuningEntries } from "./tuningTable.ts";

/** Milliseconds that a kernel takes for a problem; undefined where it does not run. */
export type Measure = (kernel: string) => number | undefined;

/** A problem that several kernels serve: which one does, and how another would be timed. */
export interface Choice {
  readonly op: string;
  /** Everything the choice follows from: types, sizes, layout, alignment, versions. */
  readonly problem: string;
  /** Those that take the problem, the one that runs without a table first. */
  readonly kernels: readonly string[];
  readonly chosen: string;
  readonly measure: Measure;
}

/**
 * Chooses among several kernels for one op. The choice is a function of the problem, the kernels that take it and the tuning
 * table; never of time, memory or whether anything is recorded. Kernels may differ in the order of their sums, so a choice
 * decides bits.
 */
export class KernelChoices {
  readonly #entries: TuningEntries;
  readonly #made = new Map<string, Choice>();
  readonly #isShown: boolean;
  #preferred: string | undefined;
  #asked: Choice[] | undefined;

  constructor(entries: TuningEntries) {
    this.#entries = entries;
    this.#isShown = readEnvironment("REVNET_DEBUG") !== "0";
  }

  /** The kernel for a problem: the first, unless the table names another of them. */
  choose(op: string, problem: string, kernels: readonly string[], measure: Measure): string {
    if (this.#preferred !== undefined && kernels.includes(this.#preferred)) return this.#preferred;
    const key = keyOf(op, problem);
    const made = this.#made.get(key);
    if (made !== undefined) {
      this.#asked?.push(made);
      return made.chosen;
    }
    const tuned = this.#entries[key]?.kernel;
    const chosen = tuned !== undefined && kernels.includes(tuned) ? tuned : kernels[0]!;
    const choice: Choice = { op, problem, kernels, chosen, measure };
    this.#made.set(key, choice);
    this.#asked?.push(choice);
    if (this.#isShown) {
      const why = chosen === tuned ? "tuned" : kernels.length === 1 ? "the only one" : `first of ${kernels.length}`;
      process.stderr.write(`cuda: ${key}: ${chosen} (${why})\n`);
    }
    return chosen;
  }

  /** Runs `f` with this kernel for all problems that it takes: to prove one, or to time it. */
  preferring<T>(kernel: string, f: () => T): T {
    this.#preferred = kernel;
    try {
      return f();
    } finally {
      this.#preferred = undefined;
    }
  }

  /** For a caller that keeps what it chose: it was asked for once more. */
  chosenAgain(op: string, problem: string): void {
    if (this.#asked !== undefined) this.#asked.push(this.#made.get(keyOf(op, problem))!);
  }

  /** The choices that `f` asks for, in its order, whether made before or now. */
  askedBy(f: () => void): readonly Choice[] {
    const asked: Choice[] = [];
    this.#asked = asked;
    try {
      f();
    } finally {
      this.#asked = undefined;
    }
    return asked;
  }

  /** Every choice made so far. */
  get made(): readonly Choice[] {
    return [...this.#made.values()];
  }
}

export const keyOf = (op: string, problem: string): string => `${op} ${problem}`;
