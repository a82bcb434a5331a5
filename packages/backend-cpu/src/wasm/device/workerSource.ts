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
  /** Units that belong to one thread, which takes them part by part; who is done helps the others. */
  share: 5,
  part: 6,
  /** Set by a worker whose kernel trapped. */
  failed: 7,
  argumentCount: 8,
  /** Workers that have started. */
  started: 9,
  /** Number of the kernel that follows on every part, or `none`; its units to each of the first's; its arguments, after the first's. */
  next: 10,
  nextScale: 11,
  nextArgumentCount: 12,
  arguments: 13,
} as const;

const HEADER_WORDS = 64;
/** A cache line each: a thread's own counter of units taken from its share. */
const COUNTER_WORDS = 16;
export const MOST_ARGUMENTS: number = HEADER_WORDS - word.arguments;
export const controlWords = (threads: number): number => HEADER_WORDS + COUNTER_WORDS * threads;

/** Where a job's counters lie, and who shares it. */
export interface Team {
  readonly threads: number;
  readonly firstCounter: number;
  readonly counterWords: number;
}
export const teamOf = (threads: number): Team => ({
  threads,
  firstCounter: HEADER_WORDS,
  counterWords: COUNTER_WORDS,
});

/** Orders in place of a kernel number. `load`: a module of `units` bytes lies at address `share`. `none`: no kernel follows. */
export const order = { load: -1, stop: -2, none: -3 } as const;

/** What a worker is started with. */
export interface WorkerStart {
  readonly word: typeof word;
  readonly order: typeof order;
  readonly team: Team;
  readonly controlWords: number;
  /** Milliseconds that a worker without work stays awake. */
  readonly patienceMs: number;
  readonly memory: Memory;
  /** Compiled modules so far, oldest first. */
  readonly modules: readonly Module[];
  /** Its number: 1 for the first; the main thread is 0. */
  readonly index: number;
  readonly scratchStart: number;
  readonly scratchBytes: number;
  readonly epoch: number;
}

// The functions from here to `workerText` run in workers, from their source text, so that no file has to be found at run time, in Node or in a
// browser. So each uses nothing but what it is given, and holds no function with a name: for those, bundlers that keep names call
// a helper that a worker does not have.

/**
 * Runs parts of the job: this thread's own share first, then what is left of the others'. A thread that the system holds up
 * delays a job by one part, not by its share.
 */
export function takeParts(
  control: Int32Array,
  { threads, firstCounter, counterWords }: Team,
  own: number,
  [units, share, part]: readonly [units: number, share: number, part: number],
  run: (from: number, to: number) => void,
): void {
  for (let turn = 0; turn < threads; turn++) {
    const owner = (own + turn) % threads;
    const counter = firstCounter + counterWords * owner;
    const end = Math.min(units, (owner + 1) * share);
    for (let from = Atomics.add(control, counter, part); from < end; from = Atomics.add(control, counter, part))
      run(from, Math.min(end, from + part));
  }
}

/** Stays awake for a while, then sleeps, until the count of jobs is no longer `last`; the new count. */
function awaitJob(control: Int32Array, { word, patienceMs }: WorkerStart, last: number): number {
  const { performance } = globalThis as unknown as { performance: { now(): number } };
  let until = performance.now() + patienceMs;
  for (let spin = 1; Atomics.load(control, word.epoch) === last; spin++) {
    if (spin % 256 !== 0 || performance.now() < until) continue;
    Atomics.add(control, word.sleepers, 1);
    Atomics.wait(control, word.epoch, last);
    Atomics.sub(control, word.sleepers, 1);
    // Woken for a job, or because one is expected.
    until = performance.now() + patienceMs;
  }
  return Atomics.load(control, word.epoch);
}

type Kernel = (...args: number[]) => void;

/** Does this worker's part of the job in the control block; whether it goes on after that. */
function runJob(control: Int32Array, start: WorkerStart, kernels: Kernel[], take: typeof takeParts): boolean {
  const { word, order, team, memory, index } = start;
  const { WebAssembly } = globalThis as unknown as { WebAssembly: NonNullable<typeof webAssembly> };
  const kernel = control[word.kernel]!;
  const [units, share] = [control[word.units]!, control[word.share]!];
  if (kernel === order.load) {
    const module = new WebAssembly.Module(new Uint8Array(memory.buffer, share, units).slice());
    kernels.push(...Object.values(new WebAssembly.Instance(module, { host: { memory } }).exports));
  } else if (kernel >= 0) {
    const run = kernels[kernel]!;
    const scratch = start.scratchStart + index * start.scratchBytes;
    const end = word.arguments + control[word.argumentCount]!;
    const args = Array.from(control.subarray(word.arguments, end));
    const next = kernels[control[word.next]!];
    const scale = control[word.nextScale]!;
    const nextArgs = Array.from(control.subarray(end, end + control[word.nextArgumentCount]!));
    take(control, team, index, [units, share, control[word.part]!], (from, to) => {
      run(scratch, from, to, ...args);
      if (next !== undefined) next(scratch, from * scale, to * scale, ...nextArgs);
    });
  }
  return kernel !== order.stop;
}

/** The worker: jobs until it is told to stop. */
function workerMain(start: WorkerStart, await_: typeof awaitJob, run: typeof runJob, take: typeof takeParts): void {
  const { word, memory } = start;
  const { WebAssembly } = globalThis as unknown as { WebAssembly: NonNullable<typeof webAssembly> };
  const control = new Int32Array(memory.buffer, 0, start.controlWords);
  const kernels: Kernel[] = [];
  for (const m of start.modules)
    kernels.push(...Object.values(new WebAssembly.Instance(m, { host: { memory } }).exports));
  Atomics.add(control, word.started, 1);
  let last = start.epoch;
  for (let goesOn = true; goesOn; ) {
    last = await_(control, start, last);
    try {
      goesOn = run(control, start, kernels, take);
    } catch {
      Atomics.store(control, word.failed, 1);
    }
    Atomics.add(control, word.done, 1);
    Atomics.notify(control, word.done);
  }
}

/** A program that is the worker; `start` is the expression that gives its WorkerStart. */
export const workerText = (start: string): string => `(${workerMain})(${start}, ${awaitJob}, ${runJob}, ${takeParts})`;
