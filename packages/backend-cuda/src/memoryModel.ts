import {
  type BufferView,
  type DType,
  dtypes,
  type Kernel,
  type KernelTable,
  type MemoryModel,
} from "@revnet-zero/tensor";
import { type Block, CachingAllocator } from "./device/allocator.ts";
import type { CudaDevice } from "./device/device.ts";

/** Addresses that no device hands out, aligned as a driver's are. */
const FIRST_ADDRESS = 2 ** 46;
const ALIGNMENT = 2 ** 21;

/** The same allocator over no memory, and the same kernels, whose workspaces come from it and which are not launched. */
export class DeviceMemoryModel implements MemoryModel<Block> {
  readonly #device: CudaDevice;
  readonly #kernels: Readonly<Record<string, Kernel<Block, unknown> | undefined>>;
  readonly #allocator: CachingAllocator;

  constructor(device: CudaDevice, kernels: KernelTable<Block>) {
    this.#device = device;
    this.#kernels = kernels as unknown as Record<string, Kernel<Block, unknown>>;
    let next = FIRST_ADDRESS;
    const allocate = (bytes: number): number => {
      const address = next;
      next += ALIGNMENT * Math.ceil(bytes / ALIGNMENT);
      return address;
    };
    this.#allocator = new CachingAllocator({ allocate, release: () => {} });
  }

  allocate(dtype: DType, elements: number): Block {
    return this.#allocator.allocate(elements * dtypes[dtype].bytes);
  }
  free(data: Block): void {
    this.#allocator.free(data);
  }
  part({ address }: Block, offset: number, bytes: number): Block {
    return { address: address + offset, bytes };
  }

  run(op: string, inputs: readonly BufferView<Block>[], outputs: readonly BufferView<Block>[], attrs: unknown): void {
    this.#device.withoutWork(this.#allocator, () => this.#kernels[op]?.run(inputs, outputs, attrs));
  }

  get peakUsedBytes(): number {
    return this.#allocator.peakUsedBytes;
  }
  get peakReservedBytes(): number {
    return this.#allocator.peakReservedBytes;
  }
}
