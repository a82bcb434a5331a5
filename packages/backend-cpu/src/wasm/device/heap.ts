import { type DType, dtypes, type TypedArray } from "@revnet-zero/tensor";
import { type Memory, webAssembly } from "../webAssembly.ts";

/** Bytes a block's size and address are a multiple of: a cache line. Kernels may read up to one line past a tensor. */
const LINE = 64;
const PAGE = 65536;
/** Most pages a 32-bit memory has: 4 GiB. Reserving them takes address space, not memory. */
const MOST_PAGES = 65536;

interface Block {
  readonly at: number;
  readonly bytes: number;
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
 * allocation of that size: a training step asks for the same sizes again and again. When none fits, neighbours are
 * joined and the smallest that is large enough is cut; only then does the memory grow.
 */
export class Heap {
  readonly memory: Memory;
  readonly isShared: boolean;
  readonly maximumPages: number;
  /** Address of the first byte never handed out. */
  #end: number;
  readonly #live = new Map<number, Block>();
  #free = new Map<number, Block[]>();
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
    const block = this.#free.get(size)?.pop() ?? this.#cut(size) ?? this.#grow(size);
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

  /** Joins neighbouring free blocks, then cuts the smallest that is large enough. */
  #cut(size: number): Block | undefined {
    if (this.#freeBytes < size) return undefined;
    const sorted = [...this.#free.values()].flat().sort((a, b) => a.at - b.at);
    this.#free = new Map();
    this.#freeBytes = 0;
    const joined: { at: number; bytes: number; view: TypedArray | undefined }[] = [];
    for (const { at, bytes, view } of sorted) {
      const last = joined[joined.length - 1];
      if (last !== undefined && last.at + last.bytes === at) {
        last.bytes += bytes;
        last.view = undefined;
      } else joined.push({ at, bytes, view });
    }
    let best: Block | undefined;
    for (const b of joined) if (b.bytes >= size && (best === undefined || b.bytes < best.bytes)) best = b;
    for (const b of joined) if (b !== best) this.#keep(b);
    if (best === undefined) return undefined;
    if (best.bytes > size) this.#keep({ at: best.at + size, bytes: best.bytes - size, view: undefined });
    return { at: best.at, bytes: size, view: undefined };
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
