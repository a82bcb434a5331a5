/** The order in which a device is told what to do. */
export interface Lane {
  /** Whether what is asked for has been done when `run` returns. */
  readonly isImmediate: boolean;
  run(task: () => unknown): void;
  /** The result of a task after everything asked for before it. */
  result<T>(task: () => T | Promise<T>): Promise<T>;
}

/** At once: WebGL, WebAssembly and JavaScript. */
export const immediate: Lane = {
  isImmediate: true,
  run: (task) => {
    task();
  },
  result: async (task) => task(),
};

/**
 * One after another, for WebGPU, where every call gives a promise. What fails is reported by the next result, and nothing runs
 * after it: its outputs do not exist.
 */
export class Queue implements Lane {
  readonly isImmediate = false;
  #last: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  run(task: () => unknown): void {
    this.#last = this.#last.then(async () => {
      if (this.#failure !== undefined) return;
      try {
        await task();
      } catch (error) {
        this.#failure = { error };
      }
    });
  }

  async result<T>(task: () => T | Promise<T>): Promise<T> {
    let found: { readonly value: T } | undefined;
    this.run(async () => {
      found = { value: await task() };
    });
    await this.#last;
    if (found !== undefined) return found.value;
    const { error } = this.#failure!;
    throw error;
  }
}
