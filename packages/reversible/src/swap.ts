import type { KeptElsewhere, MemoryCategory, SavedKeeper, Storage, Tensor } from "@revnet-zero/tensor";
import type { Offloaded, OffloadStore } from "./offload.ts";

/** Buffers that live on anyway: a copy would save nothing. */
const lasting: readonly MemoryCategory[] = ["parameters", "gradients", "optimizer"];

/** Puts saved buffers into an offload store: each once, however many ops saved it, and fetched once. */
export class SwappedBuffers implements SavedKeeper {
  readonly #store: OffloadStore;
  /** By buffer, as it was when it was saved: a later version is another one. */
  readonly #copies = new WeakMap<Storage, { readonly version: number; readonly copy: SwappedBuffer }>();

  constructor(store: OffloadStore) {
    this.#store = store;
  }

  keep(storage: Storage, whole: () => Tensor): KeptElsewhere | undefined {
    if (lasting.includes(storage.category)) return undefined;
    const known = this.#copies.get(storage);
    if (known?.version === storage.version && known.copy.isHeld) return known.copy.retain();
    const { engine } = storage;
    const copy = new SwappedBuffer(engine.scope(() => this.#store.put(whole())));
    this.#copies.set(storage, { version: storage.version, copy });
    return copy;
  }
}

/** One buffer's copy, for all who saved it. */
class SwappedBuffer implements KeptElsewhere {
  readonly #offloaded: Offloaded;
  /** Back in the engine, from the first time it is asked for until nobody needs it. */
  #fetched: Storage | undefined;
  #holders = 1;

  constructor(offloaded: Offloaded) {
    this.#offloaded = offloaded;
  }

  get isHeld(): boolean {
    return this.#holders > 0;
  }

  retain(): this {
    this.#holders++;
    return this;
  }

  open(): Storage {
    if (this.#fetched === undefined) {
      const t = this.#offloaded.fetch();
      this.#fetched = t.storage.retainSaved();
      t.dispose();
    }
    return this.#fetched.retain();
  }

  release(): void {
    if (--this.#holders > 0) return;
    this.#fetched?.releaseSaved();
    this.#fetched = undefined;
    this.#offloaded.release();
  }
}
