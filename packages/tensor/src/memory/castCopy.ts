import type { Storage } from "./storage.ts";

/**
 * A parameter's values in another float type, in a buffer that lives as long as the parameter's: what autocast reads. They are those of
 * one version of the source. Whoever writes to that makes them stale; who writes both says so.
 */
export class CastCopy {
  readonly source: Storage;
  readonly storage: Storage;
  #version: number;

  /** `storage` holds the source's values, cast. It takes over a reference. */
  constructor(source: Storage, storage: Storage) {
    this.source = source;
    this.storage = storage;
    this.#version = source.version;
    storage.category = source.category;
    storage.copyOf = this;
  }

  /** Whether it holds the source's present values. */
  get isCurrent(): boolean {
    return this.#version === this.source.version;
  }

  /** The source keeps it no longer: whoever reads it has it for himself. */
  drop(): void {
    this.source.forgetCopy(this.storage.dtype);
    this.storage.copyOf = undefined;
    this.storage.release();
  }

  /** The source's present values were written to it. */
  markCurrent(): void {
    this.#version = this.source.version;
  }
}
