import { AutogradError } from "../errors.ts";
import type { Storage } from "../memory/storage.ts";
import { makeTensor } from "../tensor/link.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Edge } from "./node.ts";

/** A tensor the graph keeps for backward: a counted reference to its storage and the version it had. */
export class SavedTensor {
  readonly #tensor: Pick<Tensor, "layout" | "dtype" | "engine">;
  readonly #version: number;
  readonly #owner: string;
  #storage: Storage | undefined;

  constructor(tensor: Tensor, owner: string) {
    this.#tensor = { layout: tensor.layout, dtype: tensor.dtype, engine: tensor.engine };
    this.#storage = tensor.storage.retainSaved();
    this.#version = tensor.storage.version;
    this.#owner = owner;
  }

  /** A handle on the saved value, attached to `edge` when the backward pass is itself recorded. */
  open(edge?: Edge): Tensor {
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
    const { engine, layout, dtype } = this.#tensor;
    return makeTensor({ engine, storage: storage.retain(), layout, dtype, ...(edge === undefined ? {} : { edge }) });
  }

  release(): void {
    this.#storage?.releaseSaved();
    this.#storage = undefined;
  }
}
