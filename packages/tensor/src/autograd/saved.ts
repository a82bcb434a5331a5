import { AutogradError } from "../errors.ts";
import { contiguous } from "../layout.ts";
import type { Storage } from "../memory/storage.ts";
import { makeTensor } from "../tensor/link.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Edge } from "./node.ts";

/** Where the graph's saved buffers are put instead of being kept. */
export interface SavedKeeper {
  /**
   * Copies a buffer's values; `whole` gives a flat handle on them, which the keeper disposes. Undefined: the graph keeps the buffer itself.
   */
  keep(storage: Storage, whole: () => Tensor): KeptElsewhere | undefined;
}

/** A buffer's values outside of the graph. */
export interface KeptElsewhere {
  /** A buffer with the values, with a reference that is the caller's. May be asked for again. */
  open(): Storage;
  /** Called once. */
  release(): void;
}

/** A tensor the graph keeps for backward: a counted reference to its storage and the version it had. */
export class SavedTensor {
  readonly #tensor: Pick<Tensor, "layout" | "dtype" | "engine">;
  readonly #version: number;
  readonly #owner: string;
  #storage: Storage | undefined;
  #elsewhere: KeptElsewhere | undefined;

  constructor(tensor: Tensor, owner: string) {
    const { engine, storage } = tensor;
    this.#tensor = { layout: tensor.layout, dtype: tensor.dtype, engine };
    this.#elsewhere = engine.savedKeeper?.keep(storage, () => flatHandle(storage));
    if (this.#elsewhere === undefined) this.#storage = storage.retainSaved();
    this.#version = tensor.storage.version;
    this.#owner = owner;
  }

  /** A handle on the saved value, attached to `edge` when the backward pass is itself recorded. */
  open(edge?: Edge): Tensor {
    const { engine, layout, dtype } = this.#tensor;
    const tracked = edge === undefined ? {} : { edge };
    if (this.#elsewhere !== undefined)
      return makeTensor({ engine, storage: this.#elsewhere.open(), layout, dtype, ...tracked });
    const storage = this.#storage;
    if (storage === undefined) {
      throw new AutogradError(
        "backward",
        `the values that ${this.#owner} saved were freed by an earlier backward pass`,
        "pass { retainGraph: true } to the first backward, or compute the loss again",
      );
    }
    if (storage.version !== this.#version) {
      throw new AutogradError(
        "backward",
        `a tensor that ${this.#owner} saved was modified in place after it was saved (version ${this.#version}, now ${storage.version})`,
        "run optimizer steps and other in-place updates after backward, or clone the tensor first",
      );
    }
    return makeTensor({ engine, storage: storage.retain(), layout, dtype, ...tracked });
  }

  release(): void {
    this.#storage?.releaseSaved();
    this.#storage = undefined;
    this.#elsewhere?.release();
    this.#elsewhere = undefined;
  }
}

/** All of a buffer, as it lies. */
function flatHandle(storage: Storage): Tensor {
  const { engine, dtype, elements } = storage;
  return makeTensor({ engine, storage: storage.retain(), layout: contiguous([elements]), dtype });
}
