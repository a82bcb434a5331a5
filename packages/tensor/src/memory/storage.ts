import type { Backend } from "../backend.ts";
import type { DType } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import type { CastCopy } from "./castCopy.ts";
import type { MemoryCategory } from "./ledger.ts";

/** What a backend gave. */
interface Buffer {
  readonly data: unknown;
  readonly dtype: DType;
  readonly elements: number;
  /** For the ledger. */
  readonly bytes: number;
}

/**
 * A reference-counted device buffer. Owners: tensor handles (views share a storage) and the graph's saved tensors.
 * `version` counts in-place writes, so that a saved tensor changed behind the graph's back is an error, not a wrong
 * gradient.
 */
export class Storage {
  readonly engine: Engine;
  readonly data: unknown;
  readonly dtype: DType;
  readonly elements: number;
  readonly bytes: number;
  /** Where it was made: module path and op, when leak recording is on. */
  readonly site: string | undefined;
  version = 0;
  /** What it is the copy of, in another type, while that keeps it. */
  copyOf: CastCopy | undefined;
  #copies: Map<DType, CastCopy> | undefined;
  #readers: Set<() => void> | undefined;
  /** Whose buffer it is: in a rehearsal the engine's is another. */
  readonly #backend: Backend;
  #references = 1;
  #saves = 0;
  #category: MemoryCategory;

  constructor(engine: Engine, { data, dtype, elements, bytes }: Buffer, category: MemoryCategory, site?: string) {
    this.engine = engine;
    this.data = data;
    this.dtype = dtype;
    this.elements = elements;
    this.bytes = bytes;
    this.#category = category;
    this.site = site;
    this.#backend = engine.backend;
    engine.ledger.allocated(category, bytes);
    engine.storages.add(this);
  }

  /** Calls `beforeWrite` before the buffer is written in place, until the returned function is called: for who reads it beside the computation. */
  watchWrites(beforeWrite: () => void): () => void {
    this.#readers ??= new Set();
    this.#readers.add(beforeWrite);
    return () => void this.#readers?.delete(beforeWrite);
  }
  /** @internal */
  prepareWrite(): void {
    if (this.#readers !== undefined) for (const beforeWrite of [...this.#readers]) beforeWrite();
  }

  /** Copies of its values in other types, which go when it goes. */
  get copies(): ReadonlyMap<DType, CastCopy> | undefined {
    return this.#copies;
  }

  /** Keeps a copy, instead of the one of that type that there was. */
  keepCopy(copy: CastCopy): void {
    this.#copies?.get(copy.storage.dtype)?.drop();
    this.#copies ??= new Map();
    this.#copies.set(copy.storage.dtype, copy);
  }

  /** @internal For the copy. */
  forgetCopy(dtype: DType): void {
    this.#copies?.delete(dtype);
  }

  get references(): number {
    return this.#references;
  }

  get category(): MemoryCategory {
    return this.#category;
  }

  /** Gives the buffer a lasting purpose. */
  set category(to: MemoryCategory) {
    const from = this.#category;
    if (to === from) return;
    const { ledger } = this.engine;
    ledger.moved(from, to, this.bytes);
    this.#category = to;
    if (ledger.isWatched) for (const o of ledger.observers) o.moved(this, from);
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    if (this.#copies !== undefined) for (const copy of [...this.#copies.values()]) copy.drop();
    const { ledger } = this.engine;
    ledger.freed(this.#category, this.bytes);
    if (ledger.isWatched) for (const o of ledger.observers) o.freed(this);
    this.engine.storages.delete(this);
    this.#backend.free(this.data);
  }

  /** Whether the graph holds it: backward will read these values. */
  get isSaved(): boolean {
    return this.#saves > 0;
  }

  /** A reference held by the graph: workspace counts as `saved` while at least one is held. */
  retainSaved(): this {
    this.#saves++;
    if (this.#category === "workspace") this.category = "saved";
    return this.retain();
  }

  releaseSaved(): void {
    if (--this.#saves === 0 && this.#category === "saved") this.category = "workspace";
    this.release();
  }
}
