/** Work whose results are there at once never leaves the microtask queue: signals and timers are let in this often. */
const TURN_MS = 20;

/** Lets signals and timers in between pieces of work, at no cost to short ones. */
export class Turns {
  #last: number = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.#last < TURN_MS) return;
    await new Promise((resolve) => void setTimeout(resolve));
    this.#last = performance.now();
  }
}
