import type { Backend, BufferView, DType, ElementwiseOp, KernelTable, TypedArray } from "@revnet-zero/tensor";
import type { HostMemory } from "./memory.ts";
import { BufferPool } from "./pool.ts";

/** What the two CPU backends share: buffers are typed arrays in host memory, readable at once. */
export abstract class HostBackend implements Backend<TypedArray> {
  abstract readonly name: string;
  abstract readonly kernels: KernelTable<TypedArray>;
  abstract elementwise(
    // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
    op: ElementwiseOp<any>,
    attrs: unknown,
    inputs: readonly BufferView<TypedArray>[],
    output: BufferView<TypedArray>,
  ): void;

  readonly isSynchronous = true;
  readonly #memory: HostMemory;

  constructor(memory: HostMemory = new BufferPool()) {
    this.#memory = memory;
  }

  allocate(dtype: DType, elements: number): TypedArray {
    return this.#memory.allocate(dtype, elements);
  }
  free(data: TypedArray): void {
    this.#memory.free(data);
  }
  write(data: TypedArray, values: TypedArray): void {
    data.set(values);
  }
  readSync(data: TypedArray, _dtype: DType, elements: number): TypedArray {
    return data.slice(0, elements);
  }
  async read(data: TypedArray, dtype: DType, elements: number): Promise<TypedArray> {
    return this.readSync(data, dtype, elements);
  }
  releaseCaches(): void {
    this.#memory.clear?.();
  }
}
