import type { DType, TypedArray } from "@revnet-zero/tensor";

/** Where a backend's buffers come from. */
export interface HostMemory {
  allocate(dtype: DType, elements: number): TypedArray;
  free(data: TypedArray): void;
  /** Gives back what is kept for reuse, where that is possible. */
  clear?(): void;
}
