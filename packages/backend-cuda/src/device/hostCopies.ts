import { type DType, dtypes, type HostCopies, type HostCopy, OutOfMemoryError } from "@revnet-zero/tensor";
import type { Block } from "./allocator.ts";
import type { CudaDevice } from "./device.ts";
import { isOutOfMemory } from "./errors.ts";

/** Copies in pinned host memory, on streams beside that of the computation (native-cuda/src/transfers.cc), while a graph is captured as well. */
export class DeviceHostCopies implements HostCopies<Block> {
  readonly #device: CudaDevice;

  constructor(device: CudaDevice) {
    this.#device = device;
  }

  copy({ address, bytes: room }: Block, dtype: DType, elements: number): HostCopy<Block> {
    const device = this.#device;
    const { native } = device;
    const bytes = elements * dtypes[dtype].bytes;
    if (bytes === 0 || room === 0) return nothing;
    const transfer = device.guard(() => withRoom(bytes, () => native.copyOut(address, bytes)));
    return {
      copyTo: (to) => {
        device.guard(() => native.copyBack(transfer, to.address, bytes));
        device.graphs.noteWritten(to);
      },
      settle: () => {
        device.guard(() => native.awaitTransfer(transfer));
        device.graphs.noteJoined();
      },
      release: () => {
        native.endTransfer(transfer);
        device.graphs.noteJoined();
      },
    };
  }

  copiesMs(): number {
    return this.#device.guard(() => this.#device.native.copyTimes());
  }
  waitsMs(): number {
    return this.#device.guard(() => this.#device.native.waitTimes());
  }
}

const nothing: HostCopy<Block> = { copyTo: () => {}, settle: () => {}, release: () => {} };

/** It is the host's memory that runs out here. */
function withRoom<T>(bytes: number, take: () => T): T {
  try {
    return take();
  } catch (error) {
    if (!isOutOfMemory(error)) throw error;
    throw new OutOfMemoryError(
      "offload",
      `${bytes} bytes more of pinned host memory cannot be had`,
      "offload fewer blocks, or to disk: offloadTo(new DiskStore())",
    );
  }
}
