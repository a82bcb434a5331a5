import type { DType, TypedArray } from "@revnet-zero/tensor";
import type { HostMemory } from "./memory.ts";

/**
 * Memory whose bytes are all ones, NaN in every float type, before it is handed out and after it is given back: a kernel that reads what
 * nobody wrote, or what is freed, shows.
 */
export class PoisonedMemory implements HostMemory {
  readonly #memory: HostMemory;

  constructor(memory: HostMemory) {
    this.#memory = memory;
  }

  allocate(dtype: DType, elements: number): TypedArray {
    return poisoned(this.#memory.allocate(dtype, elements));
  }
  free(data: TypedArray): void {
    this.#memory.free(data);
    poisoned(data);
  }
  clear(): void {
    this.#memory.clear?.();
  }
}

function poisoned(data: TypedArray): TypedArray {
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength).fill(0xff);
  return data;
}
