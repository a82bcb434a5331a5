import { BackendError, describe, dtypes, type Engine, fromWords, full, type Tensor } from "@revnet-zero/tensor";
import { lacksValues } from "./lacksValues.ts";

/** A tensor's values outside of the engine. */
export interface Offloaded {
  /** The values as a new tensor; may be asked for again. */
  fetch(): Tensor;
  /** Frees them. Called once. */
  release(): void;
}

/** Copies that a store makes beside the computation. */
export interface OffloadLink {
  /** What copies reach, as measured here. */
  readonly bytesPerMs: number;
  /** Bytes on their way at most: the computation waits where there would be more. */
  readonly inFlightBytes: number;
  /** Whether these are in the engine's ledger. */
  readonly isInLedger: boolean;
  /** Milliseconds so far that the computation waited for copies. */
  waitsMs(): number;
}

/** Where plans put the streams of offloaded blocks between forward and backward. */
export interface OffloadStore {
  /** Copies the values; the tensor is left alone. */
  put(t: Tensor): Offloaded;
  /** What stands for it where there are only shapes. Default: one that leaves nothing in the engine. */
  readonly forShapes?: OffloadStore;
  /** How it copies tensors of an engine beside the computation; undefined where the computation makes the copies itself. */
  link?(engine: Engine): OffloadLink | undefined;
}

/** A place for bytes: an array, a file, a database. Tickets are its own names for what it holds. */
export interface ByteStore<Ticket> {
  write(bytes: Uint8Array): Ticket;
  /** The same bytes again. */
  read(ticket: Ticket): Uint8Array;
  remove(ticket: Ticket): void;
  /** Where something else than the computation writes and reads. */
  link?(): OffloadLink | undefined;
}

/** An offload store that keeps the raw words of tensors in a byte store, on backends that can be read at once. */
export function offloadTo<Ticket>(bytes: ByteStore<Ticket>): OffloadStore {
  return {
    link: () => bytes.link?.(),
    put: (t) => {
      const { engine, shape, dtype } = t;
      const ticket = bytes.write(bytesOf(t));
      return {
        fetch: () => {
          // A copy, so that words lie where their type wants them (and no Buffer's pool comes along).
          const { buffer } = new Uint8Array(bytes.read(ticket));
          const words = new dtypes[dtype].array(buffer as unknown as number);
          return fromWords(words, shape, dtype, engine);
        },
        release: () => bytes.remove(ticket),
      };
    },
  };
}

function bytesOf(t: Tensor): Uint8Array {
  assertReadable(t.engine, t);
  const words = t.wordsSync();
  return new Uint8Array(words.buffer as ArrayBuffer, words.byteOffset, words.byteLength);
}

function assertReadable({ backend }: Engine, t: Tensor): void {
  if (backend.readSync !== undefined) return;
  throw new BackendError(
    "offload",
    `${describe(t)} on the ${backend.name} backend cannot be read at once`,
    "use another policy in the plan, or pass an OffloadStore of your own for this backend",
  );
}

/** Arrays in JavaScript's own memory, which the engine does not count. `heldBytes` does. */
export class HostStore implements ByteStore<Uint8Array> {
  heldBytes = 0;

  write(bytes: Uint8Array): Uint8Array {
    this.heldBytes += bytes.byteLength;
    return bytes;
  }
  read(ticket: Uint8Array): Uint8Array {
    return ticket;
  }
  remove(ticket: Uint8Array): void {
    this.heldBytes -= ticket.byteLength;
  }
}

/** For a backend without values, which only counts bytes: what is fetched has shape and type. */
export const shapeStore: OffloadStore = {
  put: ({ engine, shape, dtype }) => {
    lacksValues(engine);
    return { fetch: () => full(shape, 0, { dtype, engine }), release: () => {} };
  },
};

/** Tensors that several nodes of the graph need until the last of them lets go. */
export class SharedOffload {
  readonly #parts: readonly Offloaded[];
  #holders = 1;

  constructor(store: OffloadStore, tensors: readonly Tensor[]) {
    const parts: Offloaded[] = [];
    this.#parts = parts;
    try {
      for (const t of tensors) parts.push(store.put(t));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  fetch(): Tensor[] {
    return this.#parts.map((p) => p.fetch());
  }
  retain(): this {
    this.#holders++;
    return this;
  }
  release(): void {
    if (--this.#holders === 0) for (const p of this.#parts) p.release();
  }
}
