import type { TypedArray } from "@revnet-zero/tensor";
import { ModuleBuilder } from "../assembler/index.ts";
import { ATTENTION_SCRATCH_BYTES } from "../attention/sizes.ts";
import { CONV_SCRATCH_BYTES } from "../conv/geometry.ts";
import { gemmScratchBytes, shared } from "../gemm/tile.ts";
import { type Module, webAssembly } from "../webAssembly.ts";
import { Heap } from "./heap.ts";
import { Pool } from "./pool.ts";
import { threadHost } from "./threads.ts";
import type { Tier } from "./tier.ts";
import { controlWords } from "./workerSource.ts";

/**
 * A kernel in memory: (scratch, from, to, ...arguments), all i32. It does units [from, to) of its work; scratch is
 * the thread's own.
 */
export interface LoadedKernel {
  readonly index: number;
  readonly run: (...args: number[]) => void;
}

export interface DeviceOptions {
  readonly tier: Tier;
  readonly threads: number;
  readonly memoryLimitBytes?: number;
}

/** How a kernel's work is divided. */
export interface Work {
  readonly units: number;
  /** Parts begin at multiples of this. Default 1. */
  readonly align?: number;
  /** Units that a part has at least, where a kernel gains from many at once. Default `align`. */
  readonly least?: number;
  /** About how long one unit takes, to tell whether threads are worth waking. */
  readonly nanosecondsPerUnit: number;
  /** What goes over each part when it is done, and still in the cache: parts are of `least` units. */
  readonly next?: Follower;
}

/** A kernel that reads what another wrote. */
export interface Follower {
  readonly kernel: LoadedKernel;
  /** Its units to each unit of the first. */
  readonly scale: number;
  readonly nanosecondsPerUnit: number;
  readonly args: readonly number[];
}

/** Below this, a job for other threads costs more than it saves: workers awake, and asleep. */
const worthNanoseconds = { awake: 8_000, asleep: 120_000 };

/** So much work was done here alone because the other threads slept: then they are woken for what follows. */
const WAKE_NANOSECONDS = 60_000;

/** Shorter jobs are not cut into parts: what another thread could take over is not worth the counting. */
const WORTH_HELP_NANOSECONDS = 50_000;
const PARTS_A_SHARE = 6;

/** Heap, threads and loaded code of one backend. */
export class Device {
  readonly tier: Tier;
  readonly heap: Heap;
  readonly threads: number;
  /** Address of `shared.bytes` bytes that one job leaves for the next. */
  readonly sharedScratch: number;
  readonly #pool: Pool | undefined;
  readonly #modules: Module[] = [];
  readonly #scratchStart: number;
  readonly #scratchBytes: number;
  #kernels = 0;
  /** Nanoseconds of jobs that threads awake would have shared, since these were last woken. */
  #missed = 0;

  constructor({ tier, threads, memoryLimitBytes }: DeviceOptions) {
    this.tier = tier;
    this.#scratchStart = 4 * controlWords(threads);
    const besideGemm = Math.max(ATTENTION_SCRATCH_BYTES, CONV_SCRATCH_BYTES);
    this.#scratchBytes = Math.ceil((gemmScratchBytes(tier.tile) + besideGemm) / 64) * 64;
    this.sharedScratch = this.#scratchStart + threads * this.#scratchBytes;
    const reservedBytes = this.sharedScratch + shared.bytes;
    this.heap = new Heap({
      reservedBytes,
      ...(memoryLimitBytes === undefined ? {} : { limitBytes: memoryLimitBytes }),
    });
    this.threads = this.heap.isShared && threadHost !== undefined ? threads : 1;
    if (this.threads > 1) {
      this.#pool = new Pool({
        heap: this.heap,
        threads: this.threads,
        scratchStart: this.#scratchStart,
        scratchBytes: this.#scratchBytes,
        modules: () => this.#modules,
      });
    }
  }

  /** Writes, compiles and loads a module, here and in every thread. */
  load<K extends string>(write: (m: ModuleBuilder) => void, names: readonly K[]): Record<K, LoadedKernel> {
    const { memory, isShared, maximumPages } = this.heap;
    const builder = new ModuleBuilder({ maximumPages, isShared });
    write(builder);
    const bytes = builder.bytes();
    const module = new webAssembly!.Module(bytes);
    const { exports } = new webAssembly!.Instance(module, { host: { memory } });
    const all = Object.entries(exports);
    const found = Object.fromEntries(
      names.map((name) => {
        const position = all.findIndex(([n]) => n === name);
        return [name, { index: this.#kernels + position, run: all[position]![1] }];
      }),
    ) as unknown as Record<K, LoadedKernel>;
    this.#kernels += all.length;
    this.#modules.push(module);
    this.#pool?.load(bytes);
    return found;
  }

  /** Runs a kernel over all its units, on as many threads as are worth it. */
  run({ index, run }: LoadedKernel, work: Work, ...args: number[]): void {
    const { units, align = 1, least = align, nanosecondsPerUnit, next } = work;
    const scratch = this.#scratchStart;
    const runPart = (from: number, to: number): void => {
      call(run, scratch, from, to, args);
      if (next !== undefined) call(next.kernel.run, scratch, from * next.scale, to * next.scale, next.args);
    };
    const pool = this.#pool;
    const total = units * (nanosecondsPerUnit + (next === undefined ? 0 : next.scale * next.nanosecondsPerUnit));
    const worth = pool?.isAwake === true ? worthNanoseconds.awake : worthNanoseconds.asleep;
    if (pool === undefined || total < worth || units <= align || !pool.isReady) {
      if (pool !== undefined && total >= worthNanoseconds.awake) this.#wakeForMore(pool, total);
      const step = next === undefined ? units : least;
      for (let from = 0; from < units; from += step) runPart(from, Math.min(units, from + step));
      return;
    }
    const aligned = (count: number): number => Math.ceil(count / align) * align;
    const share = aligned(units / this.threads);
    const helped = total < WORTH_HELP_NANOSECONDS ? share : Math.max(least, aligned(share / PARTS_A_SHARE));
    const part = next === undefined ? helped : least;
    const following = next && { ...next, kernel: next.kernel.index };
    pool.run(index, { units, share, part }, args, runPart, following);
  }

  #wakeForMore(pool: Pool, nanoseconds: number): void {
    this.#missed += nanoseconds;
    if (this.#missed < WAKE_NANOSECONDS) return;
    this.#missed = 0;
    pool.wake();
  }

  get areThreadsReady(): boolean {
    return this.#pool?.isReady ?? true;
  }

  /** The address of a view's first element. */
  addressOf({ data, offset }: { readonly data: TypedArray; readonly offset: number }): number {
    return data.byteOffset + offset * data.BYTES_PER_ELEMENT;
  }

  /** Ends the threads; kernels then run here alone. */
  stop(): void {
    this.#pool?.stop();
  }
}

/** `run(scratch, from, to, ...args)`, written out for the commonest counts: a spread call is several times slower. */
function call(run: LoadedKernel["run"], scratch: number, from: number, to: number, args: readonly number[]): void {
  const [a, b, c, d, e] = args as [number, number, number, number, number];
  if (args.length === 3) run(scratch, from, to, a, b, c);
  else if (args.length === 4) run(scratch, from, to, a, b, c, d);
  else if (args.length === 5) run(scratch, from, to, a, b, c, d, e);
  else run(scratch, from, to, ...args);
}
