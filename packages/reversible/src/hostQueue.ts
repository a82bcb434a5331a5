import {
  contiguous,
  type DType,
  type Engine,
  type HostCopies,
  type HostCopy,
  makeTensor,
  OutOfMemoryError,
  type Shape,
  type Storage,
  type Tensor,
} from "@revnet-zero/tensor";
import type { Offloaded } from "./offload.ts";

/** Bytes of tensors that were put and not released, and bytes that were copied, in both directions. */
export interface HostCounts {
  heldBytes: number;
  copiedBytes: number;
}

/**
 * Where the device has it, besides the host: on its way out, asked for while it was, or on its way back. Until its copy is settled nobody may write
 * over a buffer that is copied out.
 */
type OnDevice =
  | { readonly way: "out" | "kept"; readonly storage: Storage; readonly stopWatching: () => void }
  | { readonly way: "back"; readonly storage: Storage };

/**
 * Tensors of one backend in host memory, in the order in which they were put there: backward passes want the latest first.
 *
 * What is on its way out stays on the device, and in the ledger, until there is more of it than the limit; then the computation is ordered behind
 * the copy of the oldest, whose buffer is freed. What is asked for is brought back, and the copying of those before it begins, as far as the
 * limit allows. So the bytes of a step follow from its program alone, whatever time copies take.
 */
export class HostQueue {
  readonly #copies: HostCopies<unknown>;
  readonly #limitBytes: number;
  readonly #outgoing: HeldTensor[] = [];
  #outgoingBytes = 0;
  /** Brought back and not asked for yet. */
  #waitingBytes = 0;
  #latest: HeldTensor | undefined;
  readonly #counts: HostCounts;

  constructor(copies: HostCopies<unknown>, limitBytes: number, counts: HostCounts) {
    this.#copies = copies;
    this.#limitBytes = limitBytes;
    this.#counts = counts;
  }

  put(t: Tensor): Offloaded {
    const { engine, shape, dtype } = t;
    const dense = engine.noGrad(() => whole(t));
    try {
      const { storage } = dense;
      while (this.#outgoing.length > 0 && this.#outgoingBytes + storage.bytes > this.#limitBytes)
        this.#sent(this.#outgoing[0]!);
      const copy = this.#copies.copy(storage.data, dtype, storage.elements);
      const held = new HeldTensor(this, { engine, shape, dtype, bytes: storage.bytes, copy }, this.#latest);
      if (this.#latest !== undefined) this.#latest.after = held;
      this.#latest = held;
      const stopWatching = storage.watchWrites(() => this.#sent(held));
      held.onDevice = { way: "out", storage: storage.retainSaved(), stopWatching };
      this.#outgoing.push(held);
      this.#outgoingBytes += held.bytes;
      this.#counts.heldBytes += held.bytes;
      this.#counts.copiedBytes += held.bytes;
      return held;
    } finally {
      if (dense !== t) dense.dispose();
    }
  }

  /** The words on the device, in a buffer with a reference that is the caller's. */
  fetch(held: HeldTensor): Storage {
    this.#noteUse(held);
    if (held.onDevice === undefined) this.#bring(held);
    const there = held.onDevice!;
    if (there.way === "back") held.copy.settle();
    const storage = there.storage.retain();
    try {
      if (there.way === "back") this.#leaveDevice(held);
      else this.#keep(held, there);
      this.#bringAhead(held);
      return storage;
    } catch (error) {
      storage.release();
      throw error;
    }
  }

  /** Begins to copy those before, which will be asked for next. */
  #bringAhead(held: HeldTensor): void {
    for (let next = held.before; next !== undefined; next = next.before) {
      if (next.onDevice !== undefined) continue;
      const inFlight = this.#outgoingBytes + this.#waitingBytes;
      if (inFlight > 0 && inFlight + next.bytes > this.#limitBytes) return;
      if (!this.#tryToBring(next)) return;
    }
  }

  release(held: HeldTensor): void {
    this.#noteUse(held);
    if (held.before !== undefined) held.before.after = held.after;
    if (held.after === undefined) this.#latest = held.before;
    else held.after.before = held.before;
    this.#counts.heldBytes -= held.bytes;
    held.copy.release();
    if (held.onDevice !== undefined) this.#leaveDevice(held);
  }

  /** A recording sees the copies that are made in it, and no others. */
  #noteUse({ engine }: HeldTensor): void {
    if (engine.backend.hostCopies !== this.#copies)
      engine.noteHostEffect("it uses tensors that were put in host memory before");
  }

  /** The computation waits for the copy, and the device forgets the tensor. */
  #sent(held: HeldTensor): void {
    held.copy.settle();
    this.#leaveDevice(held);
  }

  /** Needed before it was sent away: it stays until it is released. */
  #keep(held: HeldTensor, there: Exclude<OnDevice, { way: "back" }>): void {
    if (there.way === "out") this.#leaveOutgoing(held);
    held.onDevice = { ...there, way: "kept" };
  }

  #leaveDevice(held: HeldTensor): void {
    const there = held.onDevice!;
    held.onDevice = undefined;
    if (there.way === "back") this.#waitingBytes -= held.bytes;
    else {
      there.stopWatching();
      if (there.way === "out") this.#leaveOutgoing(held);
    }
    there.storage.releaseSaved();
  }

  #leaveOutgoing(held: HeldTensor): void {
    this.#outgoing.splice(this.#outgoing.indexOf(held), 1);
    this.#outgoingBytes -= held.bytes;
  }

  #bring(held: HeldTensor): void {
    const { engine, shape, dtype, copy } = held;
    const storage = engine.allocate({ shape, dtype }, "saved");
    try {
      copy.copyTo(storage.data);
    } catch (error) {
      storage.release();
      throw error;
    }
    held.onDevice = { way: "back", storage: storage.retainSaved() };
    storage.release();
    this.#waitingBytes += held.bytes;
    this.#counts.copiedBytes += held.bytes;
  }

  /** Ahead of time, where there is room for it. */
  #tryToBring(held: HeldTensor): boolean {
    const { ledger, memoryLimitBytes } = held.engine;
    if (Number.isFinite(memoryLimitBytes))
      held.engine.noteHostEffect("what it brings back ahead of time depends on the room under the memory limit");
    if (ledger.liveBytes + held.bytes > memoryLimitBytes) return false;
    try {
      this.#bring(held);
      return true;
    } catch (error) {
      if (error instanceof OutOfMemoryError) return false;
      throw error;
    }
  }
}

interface Held {
  readonly engine: Engine;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly bytes: number;
  readonly copy: HostCopy<unknown>;
}

class HeldTensor implements Offloaded, Held {
  readonly engine: Engine;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly bytes: number;
  readonly copy: HostCopy<unknown>;
  onDevice: OnDevice | undefined;
  before: HeldTensor | undefined;
  after: HeldTensor | undefined;
  readonly #queue: HostQueue;

  constructor(queue: HostQueue, { engine, shape, dtype, bytes, copy }: Held, before: HeldTensor | undefined) {
    this.#queue = queue;
    this.engine = engine;
    this.shape = shape;
    this.dtype = dtype;
    this.bytes = bytes;
    this.copy = copy;
    this.before = before;
  }

  fetch(): Tensor {
    const { engine, shape, dtype } = this;
    return makeTensor({ engine, storage: this.#queue.fetch(this), layout: contiguous(shape), dtype });
  }
  release(): void {
    this.#queue.release(this);
  }
}

/** The tensor as all of a buffer in row-major order: itself, or a copy. */
function whole(t: Tensor): Tensor {
  const dense = t.contiguous();
  const { layout, storage, size } = dense;
  if (layout.offset === 0 && storage.elements === size) return dense;
  const copy = dense.clone();
  if (dense !== t) dense.dispose();
  return copy;
}
