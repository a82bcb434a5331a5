import type { ByteStore, OffloadLink } from "@revnet-zero/reversible";
import { LifetimeError } from "@revnet-zero/tensor";
import { FileSpace } from "./fileSpace.ts";
import { errorOf, FileWorker, HEADER_BYTES, state, transferMsOf } from "./fileWorker.ts";
import { OffloadError } from "./offloadError.ts";
import { awaitTransfer, type Staged, StagingPool, stateOf } from "./staging.ts";
import { builtin, openTempFile, type TempFile } from "./tempFile.ts";

export interface DiskStoreOptions {
  /** Folder of the file. Default: the system's for temporary files. */
  readonly dir?: string;
  /** Most bytes that the file may have. Default: 64 GiB. */
  readonly limitBytes?: number;
  /**
   * Most bytes of memory for what is on its way to or from the file. More lets writes wait longer and reads begin earlier. Default: 64 MiB;
   * one tensor always has room.
   */
  readonly stagingBytes?: number;
  /** An open file to use instead of one of its own; it is the caller's to close. */
  readonly fd?: number;
}

/** Bytes written and read where nothing else has shown yet how fast that is. */
const PROBE_BYTES = 2 ** 23;

/** One thing that was written. They are linked in the order of writing: what is read is the latest first. */
interface Ticket {
  readonly bytes: number;
  readonly position: number;
  staged: Staged | undefined;
  /** Whether the file has it. */
  isWritten: boolean;
  isRemoved: boolean;
  /** Why the file does not have it, or could not give it back. */
  failure: OffloadError | undefined;
  before: Ticket | undefined;
  after: Ticket | undefined;
}

/**
 * Bytes in a file without a name, written and read by a thread beside the computation: `new ReversibleSequence({ offload: offloadTo(store) })`.
 * `write` copies and returns; reading begins for the earlier ones when a later one is asked for, because backward goes that way. The file
 * is gone with the process, however that ends. Bits are unchanged.
 *
 * @throws OffloadError from the next call, when the disk is full or fails, and when the limit would be exceeded.
 *
 * ```ts
 * import { DiskStore, offloadTo, ones, ReversibleSequence } from "revnet-zero";
 *
 * using store = new DiskStore();
 * const block = { F: (x) => x.sin(), G: (x) => x.tanh() };
 * const plan = { blocks: ["offload", "offload"] } as const;
 * const sequence = new ReversibleSequence({ blocks: [block, block], plan, offload: offloadTo(store) });
 * const x = ones([2, 3]).requireGrad();
 * const loss = sequence.call(x, x)[0].sum();
 * store.usedBytes; // => 96
 * loss.backward();
 * store.usedBytes; // => 0
 * ```
 */
export class DiskStore implements ByteStore<Ticket> {
  readonly #space: FileSpace;
  readonly #pool: StagingPool;
  readonly #worker: FileWorker;
  readonly #file: TempFile;
  /** On their way, oldest first: the worker does one after the other. */
  #transfers: Ticket[] = [];
  #latest: Ticket | undefined;
  /** The one that was read last: its bytes are being looked at. */
  #current: Ticket | undefined;
  #usedBytes = 0;
  #transferMs = 0;
  #transferredBytes = 0;
  #waitedMs = 0;
  #error: OffloadError | undefined;
  #isDisposed = false;

  constructor({ dir, limitBytes = 64 * 2 ** 30, stagingBytes = 64 * 2 ** 20, fd }: DiskStoreOptions = {}) {
    this.#space = new FileSpace(limitBytes);
    this.#pool = new StagingPool(stagingBytes);
    this.#file = fd === undefined ? openTempFile(dir) : { fd, close: () => {} };
    this.#worker = new FileWorker(this.#file.fd, builtin("node:worker_threads"));
  }

  /** Bytes that were written and not removed. */
  get usedBytes(): number {
    return this.#usedBytes;
  }
  /** Bytes of memory for what is on its way. */
  get stagedBytes(): number {
    return this.#pool.heldBytes;
  }

  /** What all transfers that have ended took, beside the computation. */
  get transferMs(): number {
    return this.#transferMs;
  }
  /** For how much of that the computation had to wait. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** As fast as its transfers were so far; where there were few, some MiB are written and read first. */
  link(): OffloadLink {
    if (this.#transferredBytes < PROBE_BYTES) this.#probe();
    const bytesPerMs = this.#transferredBytes / Math.max(this.#transferMs, 1e-3);
    const inFlightBytes = this.#pool.limitBytes;
    return { bytesPerMs, inFlightBytes, isInLedger: false, waitsMs: () => this.#waitedMs };
  }

  #probe(): void {
    const bytes = new Uint8Array(Math.min(PROBE_BYTES, this.#space.limitBytes - this.#space.usedBytes));
    const ticket = this.write(bytes);
    // Written and no longer staged: it is read from the file.
    this.#await(ticket.staged!);
    this.read(ticket);
    this.remove(ticket);
  }

  write(bytes: Uint8Array): Ticket {
    this.#check();
    this.#current = undefined;
    this.#makeRoom(bytes.byteLength);
    const position = this.#place(bytes.byteLength);
    const staged = this.#pool.take(bytes.byteLength);
    new Uint8Array(staged.buffer, HEADER_BYTES, bytes.byteLength).set(bytes);
    const ticket: Ticket = {
      bytes: bytes.byteLength,
      position,
      staged,
      isWritten: false,
      isRemoved: false,
      failure: undefined,
      before: this.#latest,
      after: undefined,
    };
    if (this.#latest !== undefined) this.#latest.after = ticket;
    this.#latest = ticket;
    this.#usedBytes += ticket.bytes;
    this.#start(ticket, true);
    return ticket;
  }

  /** A view of the bytes, to be copied before the next call. */
  read(ticket: Ticket): Uint8Array {
    this.#current = ticket;
    this.#check();
    if (ticket.failure !== undefined) throw ticket.failure;
    if (ticket.staged === undefined) this.#startReading(ticket);
    // What is being written lies there already.
    if (ticket.isWritten) this.#await(ticket.staged!);
    this.#check();
    for (let t = ticket.before; t !== undefined && this.#pool.hasRoom(t.bytes); t = t.before)
      if (t.staged === undefined) this.#startReading(t);
    return new Uint8Array(ticket.staged!.buffer, HEADER_BYTES, ticket.bytes);
  }

  remove(ticket: Ticket): void {
    if (ticket.isRemoved) return;
    ticket.isRemoved = true;
    this.#usedBytes -= ticket.bytes;
    if (ticket.before !== undefined) ticket.before.after = ticket.after;
    if (ticket.after === undefined) this.#latest = ticket.before;
    else ticket.after.before = ticket.before;
    if (!this.#transfers.includes(ticket)) this.#free(ticket);
  }

  /** Waits for what is on its way, ends the thread and removes the file. */
  dispose(): void {
    if (this.#isDisposed) return;
    for (const { staged } of this.#transfers) if (staged !== undefined) awaitTransfer(staged);
    this.#isDisposed = true;
    this.#worker.stop();
    this.#file.close();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #start(ticket: Ticket, isWrite: boolean): void {
    const { buffer, bytes } = ticket.staged!;
    this.#transfers.push(ticket);
    this.#worker.start({ buffer, bytes, position: ticket.position, isWrite });
  }

  /** A place in the file; what was removed while it was on its way leaves one when it has arrived. */
  #place(bytes: number): number {
    for (;;) {
      const position = this.#space.take(bytes);
      if (position !== undefined) return position;
      const [oldest] = this.#transfers;
      if (oldest === undefined) throw this.#full(bytes);
      this.#await(oldest.staged!);
    }
  }

  #startReading(ticket: Ticket): void {
    this.#makeRoom(ticket.bytes);
    ticket.staged = this.#pool.take(ticket.bytes);
    this.#start(ticket, false);
  }

  /** Takes note of what has arrived since. */
  #settle(): void {
    const waiting: Ticket[] = [];
    for (const ticket of this.#transfers) {
      const now = stateOf(ticket.staged!);
      if (now === state.busy) {
        waiting.push(ticket);
        continue;
      }
      this.#transferMs += transferMsOf(ticket.staged!.buffer);
      this.#transferredBytes += ticket.bytes;
      if (now === state.failed) {
        ticket.failure = this.#failure(ticket);
        this.#error ??= ticket.failure;
      }
      const wasWrite = !ticket.isWritten;
      ticket.isWritten = true;
      if (ticket.isRemoved) this.#free(ticket);
      else if (wasWrite && ticket !== this.#current) this.#unstage(ticket);
    }
    this.#transfers = waiting;
  }

  /** Memory for so many bytes: waits for the oldest transfers, and gives up what was read ahead and is not next. */
  #makeRoom(bytes: number): void {
    this.#settle();
    while (!this.#pool.hasRoom(bytes)) {
      const [oldest] = this.#transfers;
      if (oldest !== undefined) {
        this.#await(oldest.staged!);
        continue;
      }
      let idle: Ticket | undefined;
      for (let t = this.#latest; t !== undefined; t = t.before)
        if (t.staged !== undefined && t !== this.#current) idle = t;
      if (idle === undefined) return;
      this.#unstage(idle);
    }
  }

  #await(staged: Staged): void {
    const start = performance.now();
    if (!awaitTransfer(staged)) throw this.#silence();
    this.#waitedMs += performance.now() - start;
    this.#settle();
  }

  #unstage(ticket: Ticket): void {
    this.#pool.give(ticket.staged!);
    ticket.staged = undefined;
  }

  #free(ticket: Ticket): void {
    if (ticket.staged !== undefined) this.#unstage(ticket);
    this.#space.give(ticket.position, ticket.bytes);
  }

  #check(): void {
    if (this.#isDisposed) throw new LifetimeError("offload", "the DiskStore was disposed", "make a new one");
    this.#settle();
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
  }

  #failure({ staged, bytes, isWritten }: Ticket): OffloadError {
    const reason = errorOf(staged!.buffer);
    const isFull = /ENOSPC|EDQUOT|EFBIG/.test(reason);
    return new OffloadError(
      "offload",
      `${bytes} bytes could not be ${isWritten ? "read back" : "written"}${isFull ? ": the disk is full" : ""} (${reason})`,
      isFull
        ? "free some space, take a folder on a larger disk with new DiskStore({ dir }), or offload fewer blocks"
        : "look at the disk; new DiskStore({ dir }) takes a folder on another",
    );
  }

  #full(bytes: number): OffloadError {
    return new OffloadError(
      "offload",
      `${bytes} bytes more exceed the file's limit of ${this.#space.limitBytes} bytes, of which ${this.#space.usedBytes} are in use`,
      "raise it with new DiskStore({ limitBytes }), or offload fewer blocks",
    );
  }

  #silence(): OffloadError {
    return new OffloadError(
      "offload",
      "the thread that writes and reads does not answer",
      "look at the disk: it may hang",
    );
  }
}
