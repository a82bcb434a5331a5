import { type DType, dtypes, type TypedArray } from "@revnet-zero/tensor";
import { type Memory, webAssembly } from "../webAssembly.ts";

/** Bytes a block's size and address are a multiple of: a cache line. Kernels may read up to one line past a tensor. */
const LINE = 64;
const PAGE = 65536;
/** Most pages a 32-bit memory has: 4 GiB. Reserving them takes address space, not memory. */
const MOST_PAGES = 65536;

interface Block {
  readonly at: number;
  bytes: number;
  /** The last view given out on it, given out again for the same type and length. */
  view: TypedArray | undefined;
}

export interface HeapOptions {
  /** Bytes at the start that are nobody's to allocate. */
  readonly reservedBytes: number;
  /** Bytes it may grow to. Default: 4 GiB where memory can be shared, else 1 GiB, taken at once. */
  readonly limitBytes?: number;
}

/**
 * One linear memory for all tensors, so that kernels and threads take plain addresses. Freed blocks wait by size for the next
 * allocation of that size: a training step asks for the same sizes again and again. When there is none, the smallest that is
 * larger is cut; when there is none of those, neighbours are joined; only then does the memory grow.
 */
export class Heap {
  readonly memory: Memory;
  readonly isShared: boolean;
  readonly maximumPages: number;
  /** Address of the first byte never handed out. */
  #end: number;
  readonly #live = new Map<number, Block>();
  readonly #free = new Map<number, Block[]>();
  #freeBytes = 0;

  constructor({ reservedBytes, limitBytes }: HeapOptions) {
    this.isShared = canShare();
    const wanted = Math.min(MOST_PAGES, Math.ceil((limitBytes ?? (this.isShared ? 2 ** 32 : 2 ** 30)) / PAGE));
    const needed = Math.ceil(reservedBytes / PAGE) + 1;
    ({ memory: this.memory, pages: this.maximumPages } = reserve(Math.max(wanted, needed), needed, this.isShared));
    this.#end = roundUp(reservedBytes);
  }

  /** A view of `elements` elements; contents are undefined. RangeError when the memory is full. */
  allocate(dtype: DType, elements: number): TypedArray {
    const { array, bytes } = dtypes[dtype];
    const size = Math.max(LINE, roundUp(elements * bytes));
    const block = this.#take(size) ?? this.#find(size) ?? this.#grow(size);
    if (block.bytes > size) this.#split(block, size);
    if (block.view === undefined || block.view.length !== elements || !(block.view instanceof array)) {
      const View = array as unknown as new (buffer: ArrayBufferLike, at: number, length: number) => TypedArray;
      block.view = new View(this.memory.buffer, block.at, elements);
    }
    this.#live.set(block.at, block);
    return block.view;
  }

  free(view: TypedArray): void {
    const block = this.#live.get(view.byteOffset);
    if (block === undefined) throw new RangeError("freed a buffer that is not allocated");
    this.#live.delete(block.at);
    this.#keep(block);
  }

  /** Bytes of address space ever in use: what the process holds at most for tensors. */
  get highWaterBytes(): number {
    return this.#end;
  }

  #keep(block: Block): void {
    const list = this.#free.get(block.bytes);
    if (list === undefined) this.#free.set(block.bytes, [block]);
    else list.push(block);
    this.#freeBytes += block.bytes;
  }

  /** The smallest free block that is large enough; neighbours are joined only where there is none. */
  #find(size: number): Block | undefined {
    if (this.#freeBytes < size) return undefined;
    const found = this.#bestFit(size);
    if (found !== undefined) return found;
    this.#join();
    return this.#bestFit(size);
  }

  #bestFit(size: number): Block | undefined {
    let best = Number.POSITIVE_INFINITY;
    for (const [bytes, list] of this.#free) if (bytes >= size && bytes < best && list.length > 0) best = bytes;
    return this.#take(best);
  }

  #take(bytes: number): Block | undefined {
    const block = this.#free.get(bytes)?.pop();
    if (block !== undefined) this.#freeBytes -= bytes;
    return block;
  }

  /** Keeps what of a block is not needed. */
  #split(block: Block, size: number): void {
    this.#keep({ at: block.at + size, bytes: block.bytes - size, view: undefined });
    block.bytes = size;
    block.view = undefined;
  }

  #join(): void {
    const sorted = [...this.#free.values()].flat().sort((a, b) => a.at - b.at);
    this.#free.clear();
    this.#freeBytes = 0;
    let last: Block | undefined;
    for (const block of sorted) {
      if (last !== undefined && last.at + last.bytes === block.at) {
        last.bytes += block.bytes;
        last.view = undefined;
        continue;
      }
      if (last !== undefined) this.#keep(last);
      last = block;
    }
    if (last !== undefined) this.#keep(last);
  }

  #grow(size: number): Block {
    const at = this.#end;
    const missing = Math.ceil((at + size + LINE - this.memory.buffer.byteLength) / PAGE);
    if (missing > 0) this.#addPages(missing);
    this.#end = at + size;
    return { at, bytes: size, view: undefined };
  }

  /** At least the missing pages, and an eighth more, so that growing is rare. */
  #addPages(missing: number): void {
    const present = this.memory.buffer.byteLength / PAGE;
    const left = this.maximumPages - present;
    if (missing > left)
      throw new RangeError(`the heap is full: ${present * PAGE} bytes of ${this.maximumPages * PAGE}`);
    this.memory.grow(Math.min(left, Math.max(missing, present >> 3)));
  }
}

const roundUp = (bytes: number): number => Math.ceil(bytes / LINE) * LINE;

/** Node always; browsers only on cross-origin isolated pages. */
function canShare(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  return (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated ?? true;
}

/** A memory that can grow to `pages`, or to as many as the system lets us reserve. */
function reserve(pages: number, needed: number, isShared: boolean): { memory: Memory; pages: number } {
  for (let most = pages; ; most = Math.max(needed, most >> 1)) {
    try {
      // Growing a memory that is not shared would detach every view: take it whole.
      const initial = isShared ? needed : most;
      return { memory: new webAssembly!.Memory({ initial, maximum: most, shared: isShared }), pages: most };
    } catch (error) {
      if (most === needed) throw error;
    }
  }
}
