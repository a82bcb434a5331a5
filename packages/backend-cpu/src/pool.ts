import { type DType, dtypes, type TypedArray } from "@revnet-zero/tensor";
import type { HostMemory } from "./memory.ts";

/**
 * Freed buffers, kept by size for the next allocation of that size: a training step asks for the same sizes again and
 * again, and the garbage collector would return external memory late.
 */
export class BufferPool implements HostMemory {
  readonly #free = new Map<number, ArrayBuffer[]>();

  allocate(dtype: DType, elements: number): TypedArray {
    const bytes = elements * dtypes[dtype].bytes;
    const buffer = this.#free.get(bytes)?.pop() ?? new ArrayBuffer(bytes);
    return new (dtypes[dtype].array as unknown as new (b: ArrayBuffer) => TypedArray)(buffer);
  }

  free(data: TypedArray): void {
    const list = this.#free.get(data.byteLength);
    if (list === undefined) this.#free.set(data.byteLength, [data.buffer as ArrayBuffer]);
    else list.push(data.buffer as ArrayBuffer);
  }

  clear(): void {
    this.#free.clear();
  }
}
