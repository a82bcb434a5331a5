import type { Engine } from "@revnet-zero/tensor";

/** Thrown out of a demonstration that the reader has cancelled. */
export class Cancelled extends Error {
  override name = "Cancelled";
}

/** What is sent without a copy. */
export type Transferred = readonly ArrayBuffer[];

/** What a session needs from the thread around it. */
export interface SessionHost {
  readonly engine: Engine;
  post(event: unknown, transferred: Transferred): void;
  /** The bytes of the text that language models learn. */
  readText(): Promise<Uint8Array>;
}

/** Work without a break is given up this often, so that pause and cancel are heard. */
const TURN_MS = 16;

/** One demonstration's connection to the page: it emits events, and takes turns, at which it can be paused or cancelled. */
export class Session<E> {
  readonly engine: Engine;
  readonly readText: () => Promise<Uint8Array>;
  readonly #host: SessionHost;
  #isCancelled = false;
  #paused: { readonly until: Promise<void>; readonly resume: () => void } | undefined;
  #last: number = performance.now();
  #pausedMs = 0;

  constructor(host: SessionHost) {
    this.engine = host.engine;
    this.readText = () => host.readText();
    this.#host = host;
  }

  emit(event: E, transferred: Transferred = []): void {
    this.#host.post(event, transferred);
  }

  /** Milliseconds spent computing: what the clock says, less pauses. */
  now(): number {
    return performance.now() - this.#pausedMs;
  }

  /** Lets messages in, waits while paused, throws `Cancelled`. Costs nothing when called often. */
  async turn(): Promise<void> {
    if (performance.now() - this.#last >= TURN_MS) await breath();
    if (this.#paused !== undefined) {
      const start = performance.now();
      await this.#paused.until;
      this.#pausedMs += performance.now() - start;
    }
    if (this.#isCancelled) throw new Cancelled("cancelled");
    this.#last = performance.now();
  }

  pause(): void {
    if (this.#paused !== undefined) return;
    let resume: () => void = () => undefined;
    const until = new Promise<void>((resolve) => {
      resume = resolve;
    });
    this.#paused = { until, resume };
  }

  resume(): void {
    this.#paused?.resume();
    this.#paused = undefined;
  }

  cancel(): void {
    this.#isCancelled = true;
    this.resume();
  }
}

/** A task later; timers would wait four milliseconds. */
function breath(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
