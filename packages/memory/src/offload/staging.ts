import { HEADER_BYTES, state } from "./fileWorker.ts";

/** A buffer that is, was, or will be filled by a transfer. */
export interface Staged {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: number;
}

/** Milliseconds without any sign of the worker, after which there is none to be expected. */
const PATIENCE_MS = 120_000;

export const stateOf = ({ buffer }: Staged): number => Atomics.load(new Int32Array(buffer, 0, 1), 0);

/** Blocks until the transfer is through; false where the worker does not answer. */
export function awaitTransfer({ buffer }: Staged): boolean {
  const header = new Int32Array(buffer, 0, 1);
  while (Atomics.load(header, 0) === state.busy) {
    if (Atomics.wait(header, 0, state.busy, PATIENCE_MS) === "timed-out") return false;
  }
  return true;
}

/** Buffers between tensors and the file, used again for the same size: streams are all alike. */
export class StagingPool {
  readonly limitBytes: number;
  readonly #free = new Map<number, SharedArrayBuffer[]>();
  #freeBytes = 0;
  #heldBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** Bytes in buffers that were taken and not given back. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether one more may be taken: one alone always, whatever its size. */
  hasRoom(bytes: number): boolean {
    return this.#heldBytes === 0 || this.#heldBytes + bytes <= this.limitBytes;
  }

  take(bytes: number): Staged {
    this.#heldBytes += bytes;
    const found = this.#free.get(bytes)?.pop();
    if (found === undefined) this.#trim(bytes);
    else this.#freeBytes -= bytes;
    return { buffer: found ?? new SharedArrayBuffer(HEADER_BYTES + bytes), bytes };
  }

  give({ buffer, bytes }: Staged): void {
    this.#heldBytes -= bytes;
    const list = this.#free.get(bytes);
    if (list === undefined) this.#free.set(bytes, [buffer]);
    else list.push(buffer);
    this.#freeBytes += bytes;
  }

  /** Lets free buffers of other sizes go where they and a new one would be more than the limit. */
  #trim(bytes: number): void {
    if (this.#heldBytes + this.#freeBytes <= this.limitBytes) return;
    for (const [size, list] of this.#free) {
      if (size !== bytes) {
        this.#freeBytes -= size * list.length;
        this.#free.delete(size);
      }
    }
  }
}
