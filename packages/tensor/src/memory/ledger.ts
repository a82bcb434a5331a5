import type { Shape } from "../shape.ts";
import type { Storage } from "./storage.ts";

/** What a byte is for. `workspace` is everything without a longer purpose: temporaries, inputs, results. */
export const categories = ["parameters", "gradients", "optimizer", "streams", "saved", "workspace"] as const;
export type MemoryCategory = (typeof categories)[number];
export type BytesByCategory = { readonly [K in MemoryCategory]: number };

export interface MemoryReport {
  readonly liveBytes: number;
  readonly peakBytes: number;
  readonly live: BytesByCategory;
  /** The categories at the instant of the peak; they sum to `peakBytes`. */
  readonly atPeak: BytesByCategory;
  /** Peak less parameters, gradients and optimizer state at that instant. */
  readonly activationBytes: number;
  readonly liveBuffers: number;
}

const zero = (): Record<MemoryCategory, number> => ({
  parameters: 0,
  gradients: 0,
  optimizer: 0,
  streams: 0,
  saved: 0,
  workspace: 0,
});

/** Told of every buffer of an engine, in order, after the ledger has counted it. */
export interface MemoryObserver {
  allocated(storage: Storage, shape: Shape): void;
  /** It got another purpose, or lost it. */
  moved(storage: Storage, from: MemoryCategory): void;
  freed(storage: Storage): void;
}

/** Exact count of live and peak bytes. Every buffer of the engine passes here; nothing else writes it. */
export class Ledger {
  #live = zero();
  #atPeak = zero();
  #liveBytes = 0;
  #peakBytes = 0;
  #buffers = 0;
  readonly #observers = new Set<MemoryObserver>();

  /** Tells `observer` of every buffer until the returned function is called. */
  watch(observer: MemoryObserver): () => void {
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }
  /** @internal */
  get isWatched(): boolean {
    return this.#observers.size > 0;
  }
  /** @internal */
  get observers(): ReadonlySet<MemoryObserver> {
    return this.#observers;
  }

  allocated(category: MemoryCategory, bytes: number): void {
    this.#live[category] += bytes;
    this.#liveBytes += bytes;
    this.#buffers++;
    if (this.#liveBytes > this.#peakBytes) {
      this.#peakBytes = this.#liveBytes;
      this.#atPeak = { ...this.#live };
    }
  }

  freed(category: MemoryCategory, bytes: number): void {
    this.#live[category] -= bytes;
    this.#liveBytes -= bytes;
    this.#buffers--;
  }

  moved(from: MemoryCategory, to: MemoryCategory, bytes: number): void {
    this.#live[from] -= bytes;
    this.#live[to] += bytes;
  }

  get liveBytes(): number {
    return this.#liveBytes;
  }

  liveBytesOf(category: MemoryCategory): number {
    return this.#live[category];
  }

  /** Starts a new peak measurement from the present state. */
  resetPeak(): void {
    this.#peakBytes = this.#liveBytes;
    this.#atPeak = { ...this.#live };
  }

  /** Runs `f` and forgets the peak that it reached. */
  apart<T>(f: () => T): T {
    const [peakBytes, atPeak] = [this.#peakBytes, this.#atPeak];
    try {
      return f();
    } finally {
      this.#peakBytes = peakBytes;
      this.#atPeak = atPeak;
    }
  }

  report(): MemoryReport {
    const { parameters, gradients, optimizer } = this.#atPeak;
    return {
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
      live: { ...this.#live },
      atPeak: { ...this.#atPeak },
      activationBytes: this.#peakBytes - parameters - gradients - optimizer,
      liveBuffers: this.#buffers,
    };
  }
}
