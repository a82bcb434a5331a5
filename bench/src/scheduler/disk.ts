import { DiskStore } from "@revnet-zero/memory";
import type { Module } from "@revnet-zero/nn";
import { type ByteStore, offloadTo, ReversibleSequence } from "@revnet-zero/reversible";

type Ticket = ReturnType<DiskStore["write"]>;

/** What passes moved to disk and back. */
export interface DiskTraffic {
  readonly bytes: number;
  /** Memory for what was on its way, beside the ledger's. */
  readonly mostStagedBytes: number;
  /** What the moving took, and for how much of that the computation waited. */
  readonly transferMs: number;
  readonly waitedMs: number;
}

/** A disk store that notes what passes through it. */
export class NotedDisk implements ByteStore<Ticket> {
  readonly #store = new DiskStore();
  #bytes = 0;
  #mostStagedBytes = 0;
  #before: Pick<DiskTraffic, "transferMs" | "waitedMs"> = { transferMs: 0, waitedMs: 0 };

  /** Since `forget` was called last. */
  get traffic(): DiskTraffic {
    const transferMs = this.#store.transferMs - this.#before.transferMs;
    const waitedMs = this.#store.waitedMs - this.#before.waitedMs;
    return { bytes: this.#bytes, mostStagedBytes: this.#mostStagedBytes, transferMs, waitedMs };
  }
  forget(): void {
    this.#before = { transferMs: this.#store.transferMs, waitedMs: this.#store.waitedMs };
    this.#bytes = this.#mostStagedBytes = 0;
  }
  write(bytes: Uint8Array): Ticket {
    this.#bytes += bytes.byteLength;
    const ticket = this.#store.write(bytes);
    this.#note();
    return ticket;
  }
  read(ticket: Ticket): Uint8Array {
    const bytes = this.#store.read(ticket);
    this.#note();
    return bytes;
  }
  remove(ticket: Ticket): void {
    this.#store.remove(ticket);
  }
  dispose(): void {
    this.#store.dispose();
  }

  #note(): void {
    this.#mostStagedBytes = Math.max(this.#mostStagedBytes, this.#store.stagedBytes);
  }
}

/** Has every sequence of a model offload to a store. */
export function offloadAllTo(model: Module, store: ByteStore<Ticket>): void {
  for (const module of model.namedModules().values())
    if (module instanceof ReversibleSequence) module.offload = offloadTo(store);
}
