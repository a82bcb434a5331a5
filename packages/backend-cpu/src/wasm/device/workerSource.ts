import type { Memory, Module, webAssembly } from "../webAssembly.ts";

// Words of the control block, which main thread and workers share. Int32 indices from the heap's first byte.
export const word = {
  /** Counts jobs; workers wait on it. */
  epoch: 0,
  /** Workers that have finished the job. */
  done: 1,
  /** Workers asleep in Atomics.wait: only then is a wake-up call needed. */
  sleepers: 2,
  /** Number of the kernel, or one of `order`. */
  kernel: 3,
  units: 4,
  /** Units of one thread. */
  share: 5,
  /** Set by a worker whose kernel trapped. */
  failed: 6,
  /** Milliseconds-free spin budget: loads of `epoch` before a worker sleeps. */
  spins: 7,
  arguments: 8,
} as const;

export const CONTROL_BYTES = 256;
export const CONTROL_WORDS: number = CONTROL_BYTES / 4;
export const MOST_ARGUMENTS: number = CONTROL_WORDS - word.arguments;

/** Orders in place of a kernel number. `load`: a module of `units` bytes lies at address `share`. */
export const order = { load: -1, stop: -2 } as const;

/** What a worker is started with. */
export interface WorkerStart {
  readonly word: typeof word;
  readonly order: typeof order;
  readonly controlWords: number;
  readonly memory: Memory;
  /** Compiled modules so far, oldest first. */
  readonly modules: readonly Module[];
  /** Its number: 1 for the first; the main thread is 0. */
  readonly index: number;
  readonly scratchStart: number;
  readonly scratchBytes: number;
  readonly epoch: number;
}

/**
 * The worker, self-contained: it is started from its source text, in Node and in a browser, so that no file has to be found at run
 * time.
 */
export function workerMain(start: WorkerStart): void {
  const { word, order } = start;
  const { WebAssembly } = globalThis as unknown as { WebAssembly: NonNullable<typeof webAssembly> };
  const { memory, index, scratchStart, scratchBytes } = start;
  const control = new Int32Array(memory.buffer, 0, start.controlWords);
  const scratch = scratchStart + index * scratchBytes;
  const kernels: ((...args: number[]) => void)[] = [];
  const load = (module: Module): void => {
    const { exports } = new WebAssembly.Instance(module, { host: { memory } });
    for (const f of Object.values(exports)) kernels.push(f);
  };
  for (const m of start.modules) load(m);
  const { epoch } = word;
  let last = start.epoch;
  const runJob = (): boolean => {
    const kernel = control[word.kernel]!;
    if (kernel === order.stop) return false;
    if (kernel === order.load) {
      const at = control[word.share]!;
      load(new WebAssembly.Module(new Uint8Array(memory.buffer, at, control[word.units]!).slice()));
      return true;
    }
    const units = control[word.units]!;
    const share = control[word.share]!;
    const from = Math.min(units, index * share);
    const to = Math.min(units, from + share);
    if (from < to) {
      const a = control.subarray(word.arguments);
      // Surplus arguments are dropped by the call.
      kernels[kernel]!(scratch, from, to, ...a);
    }
    return true;
  };
  for (;;) {
    const budget = control[word.spins]!;
    for (let spin = 0; Atomics.load(control, epoch) === last; spin++) {
      if (spin < budget) continue;
      Atomics.add(control, word.sleepers, 1);
      Atomics.wait(control, epoch, last);
      Atomics.sub(control, word.sleepers, 1);
    }
    last = Atomics.load(control, epoch);
    let goesOn = true;
    try {
      goesOn = runJob();
    } catch {
      Atomics.store(control, word.failed, 1);
    }
    Atomics.add(control, word.done, 1);
    Atomics.notify(control, word.done);
    if (!goesOn) return;
  }
}
