import type { Backend, Engine, Tensor } from "@revnet-zero/tensor";
import { bytesPerMsOf } from "./hostLink.ts";
import { HostQueue } from "./hostQueue.ts";
import { lacksValues } from "./lacksValues.ts";
import { HostStore, type Offloaded, type OffloadLink, type OffloadStore, offloadTo, shapeStore } from "./offload.ts";

export interface HostOffloadOptions {
  /**
   * Most bytes of a device's memory for tensors on their way to the host, and for those brought back before they are asked for; one tensor
   * always has room. More leaves copies more time beside the computation; the bytes are part of a step's peak. Default: 256 MiB.
   */
  readonly inFlightBytes?: number;
}

/**
 * The host's memory, for tensors that backward will want: the default of a sequence's `offload`.
 *
 * On a device copies are made beside the computation, to pinned memory, and back ahead of time; nothing waits but the device itself, where a copy is
 * needed that has not ended. On backends in host memory they are arrays that the ledger does not count. Bits are unchanged.
 */
export class HostOffload implements OffloadStore {
  readonly inFlightBytes: number;
  readonly #arrays = new HostStore();
  readonly #byReading: OffloadStore = offloadTo(this.#arrays);
  readonly #queues = new WeakMap<Backend, HostQueue>();
  readonly #counts = { heldBytes: 0, copiedBytes: 0 };

  constructor({ inFlightBytes = 256 * 2 ** 20 }: HostOffloadOptions = {}) {
    this.inFlightBytes = inFlightBytes;
  }

  /** Bytes of tensors in host memory. */
  get heldBytes(): number {
    return this.#counts.heldBytes + this.#arrays.heldBytes;
  }
  /** Bytes that went from devices to the host, and back, so far. */
  get copiedBytes(): number {
    return this.#counts.copiedBytes;
  }

  put(t: Tensor): Offloaded {
    const { backend } = t.engine;
    if (backend.hostCopies === undefined) return (lacksValues(t.engine) ? shapeStore : this.#byReading).put(t);
    let queue = this.#queues.get(backend);
    if (queue === undefined) {
      const isShapeOnly = backend.assumptions !== undefined;
      const counts = isShapeOnly ? { heldBytes: 0, copiedBytes: 0 } : this.#counts;
      queue = new HostQueue(backend.hostCopies, this.inFlightBytes, counts);
      this.#queues.set(backend, queue);
    }
    return queue.put(t);
  }

  /** Copies a few MiB back and forth when it is first asked of a device. */
  link({ backend }: Engine): OffloadLink | undefined {
    const { hostCopies } = backend;
    if (hostCopies === undefined) return undefined;
    const { inFlightBytes } = this;
    return {
      ...{ inFlightBytes, isInLedger: true, bytesPerMs: bytesPerMsOf(backend) },
      waitsMs: () => hostCopies.waitsMs(),
    };
  }

  /** Itself: what is in flight there as here. */
  get forShapes(): OffloadStore {
    return this;
  }
}
