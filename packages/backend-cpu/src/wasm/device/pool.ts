import { type Module, webAssembly } from "../webAssembly.ts";
import type { Heap } from "./heap.ts";
import { type Thread, type ThreadHost, threadHost } from "./threads.ts";
import { controlWords, MOST_ARGUMENTS, order, type Team, takeParts, teamOf, word } from "./workerSource.ts";

/** A worker stays awake through a training step, whose gaps between kernels this outlasts, and sleeps between runs. */
const PATIENCE_MS = 0.3;
const START_MS = 30_000;

/** How the units of a job are divided: a share for each thread, taken in parts. */
export interface Division {
  readonly units: number;
  readonly share: number;
  readonly part: number;
}

/** What another kernel does to every part as soon as the first has written it. */
export interface Following {
  readonly kernel: number;
  /** Its units to each unit of the first. */
  readonly scale: number;
  readonly args: readonly number[];
}

export interface PoolOptions {
  readonly heap: Heap;
  readonly threads: number;
  readonly scratchStart: number;
  readonly scratchBytes: number;
  /** Modules loaded so far, for workers that start later. */
  readonly modules: () => readonly Module[];
  /** Milliseconds that workers may take to start. Default: half a minute. */
  readonly startMs?: number;
  /** Default: what this engine has. */
  readonly host?: ThreadHost;
}

/**
 * Workers that run the same kernel on other parts of its work. A job is a few words in shared memory and a counter: 0.2 microseconds
 * from start to join while the workers spin, 30 when they sleep. Who computes which part never changes a bit.
 */
export class Pool {
  readonly threads: number;
  readonly #options: PoolOptions;
  readonly #team: Team;
  readonly #control: Int32Array;
  readonly #host: ThreadHost;
  #workers: Thread[] | undefined;
  #isReady: boolean;
  /** Modules loaded while workers start. */
  #pending: Uint8Array[] = [];
  #spawnedAt = 0;
  /** What ended a worker; known when this thread has been idle since. */
  #failure = "";

  constructor(options: PoolOptions) {
    this.#options = options;
    this.threads = options.threads;
    this.#team = teamOf(options.threads);
    this.#control = new Int32Array(options.heap.memory.buffer, 0, controlWords(options.threads));
    this.#host = options.host ?? threadHost!;
    this.#isReady = this.#host.startsAtOnce;
    // Elsewhere they start when the first job needs them.
    if (!this.#isReady) this.#workers = this.#spawn();
  }

  /** Whether jobs may be given out. In a browser workers join when they have started; until then this thread works alone: same bits. */
  get isReady(): boolean {
    if (this.#isReady) return true;
    if (Atomics.load(this.#control, word.started) < this.threads - 1) return false;
    this.#isReady = true;
    for (const bytes of this.#pending) this.load(bytes);
    this.#pending = [];
    return true;
  }

  /** Whether the workers can start on a job at once. */
  get isAwake(): boolean {
    return this.#workers !== undefined && Atomics.load(this.#control, word.sleepers) === 0;
  }

  /** Lets workers that sleep get up, because jobs too small to wait for that keep coming. */
  wake(): void {
    if (this.#workers !== undefined) Atomics.notify(this.#control, word.epoch);
  }

  /** Runs a kernel, and what follows it, on all threads; `run` does units [from, to) here. */
  run(
    kernel: number,
    work: Division,
    args: readonly number[],
    run: (from: number, to: number) => void,
    next?: Following,
  ): void {
    const count = args.length + (next?.args.length ?? 0);
    if (count > MOST_ARGUMENTS) throw new RangeError(`kernels of a job take at most ${MOST_ARGUMENTS} arguments`);
    const { units, share, part } = work;
    const control = this.#control;
    const { threads, firstCounter, counterWords } = this.#team;
    for (let i = 0; i < args.length; i++) control[word.arguments + i] = args[i]!;
    control[word.argumentCount] = args.length;
    control[word.next] = next?.kernel ?? order.none;
    if (next !== undefined) {
      control.set(next.args, word.arguments + args.length);
      control[word.nextScale] = next.scale;
      control[word.nextArgumentCount] = next.args.length;
    }
    control[word.part] = part;
    for (let t = 0; t < threads; t++) control[firstCounter + counterWords * t] = t * share;
    this.#start(kernel, units, share);
    let failure: unknown;
    try {
      takeParts(control, this.#team, 0, [units, share, part], run);
    } catch (error) {
      failure = error;
    }
    this.#join();
    if (failure !== undefined) throw failure;
  }

  /** Hands the bytes of a new module to workers that run already; those that start later find it among the modules. */
  load(bytes: Uint8Array): void {
    if (this.#workers === undefined) return;
    if (!this.isReady) {
      this.#pending.push(bytes);
      return;
    }
    const { heap } = this.#options;
    const at = heap.allocate("u8", bytes.length) as Uint8Array;
    at.set(bytes);
    this.#start(order.load, bytes.length, at.byteOffset);
    this.#join();
    heap.free(at);
  }

  stop(): void {
    if (this.#workers === undefined) return;
    if (this.isReady) {
      this.#start(order.stop, 0, 0);
      this.#join();
    }
    for (const w of this.#workers) w.terminate();
    this.#workers = undefined;
  }

  #start(kernel: number, units: number, share: number): void {
    this.#workers ??= this.#spawn();
    const control = this.#control;
    control[word.kernel] = kernel;
    control[word.units] = units;
    control[word.share] = share;
    Atomics.store(control, word.done, 0);
    Atomics.add(control, word.epoch, 1);
    if (Atomics.load(control, word.sleepers) > 0) Atomics.notify(control, word.epoch);
  }

  #join(): void {
    const control = this.#control;
    const all = this.threads - 1;
    for (let spin = 0; Atomics.load(control, word.done) < all; spin++) {
      // A page may not wait; it spins.
      if (spin < 1_000_000 || !this.#host.startsAtOnce) continue;
      const done = Atomics.load(control, word.done);
      if (done < all) Atomics.wait(control, word.done, done, 1);
      this.#expectStarted(all);
    }
    if (control[word.failed] !== 0) {
      control[word.failed] = 0;
      throw new webAssembly!.RuntimeError("a kernel failed in a worker thread");
    }
  }

  /** A worker that dies while it starts takes no part in any job: waiting for it would never end. */
  #expectStarted(all: number): void {
    const started = Atomics.load(this.#control, word.started);
    const { startMs = START_MS } = this.#options;
    if (started >= all || performance.now() - this.#spawnedAt < startMs) return;
    throw new webAssembly!.RuntimeError(
      `${all - started} of ${all} worker threads did not start within ${startMs / 1000} s: run with REVNET_THREADS=1${this.#failure}`,
    );
  }

  #spawn(): Thread[] {
    this.#spawnedAt = performance.now();
    const { heap, threads, scratchStart, scratchBytes } = this.#options;
    const modules = this.#options.modules();
    const epoch = Atomics.load(this.#control, word.epoch);
    const shared = { word, order, team: this.#team, controlWords: controlWords(threads), patienceMs: PATIENCE_MS };
    const place = { memory: heap.memory, scratchStart, scratchBytes };
    return Array.from({ length: threads - 1 }, (_, i) =>
      this.#host.start({ ...shared, ...place, modules, index: i + 1, epoch }, (message) => {
        this.#failure = ` (${message})`;
      }),
    );
  }
}
