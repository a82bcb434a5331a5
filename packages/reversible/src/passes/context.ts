import { Module, type WithModes } from "@revnet-zero/nn";
import type { AmbientState, Engine, Key } from "@revnet-zero/tensor";
import type { Branch } from "../branch.ts";

/** Runs the branches of step number `step` the way they ran the first time. */
export interface BranchRunner {
  run<T>(step: number, f: () => T): T;
}

/**
 * What a second run of the branches needs besides their input: the generator key of the pass (each step folds in its
 * own number, so the order of calls does not matter) and every module's train flag at forward time.
 */
export class PassContext implements BranchRunner {
  readonly #engine: Engine;
  readonly #key: Key | undefined;
  readonly #autocast: AmbientState["autocast"];
  readonly #modes: readonly WithModes[];

  constructor(engine: Engine, branches: readonly Branch[]) {
    this.#engine = engine;
    this.#key = engine.ambient.nextKey();
    this.#autocast = engine.ambient.autocast;
    this.#modes = [...new Set(branches)].flatMap((b) => (b instanceof Module ? [b.captureModes()] : []));
  }

  run<T>(step: number, f: () => T): T {
    const key = this.#key;
    if (key === undefined) return f();
    return this.#engine.withKey(key, () => this.#engine.withFoldedKey(step, f));
  }

  /** Runs a whole second pass with the flags and the precision of the first. */
  again<T>(f: () => T): T {
    const inModes = this.#modes.reduceRight<() => T>((inner, restore) => () => restore(inner), f);
    return this.#engine.autocast(this.#autocast, inModes);
  }
}
