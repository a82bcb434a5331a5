import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { avx2Environment, startPytorch } from "../pytorch.ts";
import { median } from "../statistics.ts";
import { SETTLE_MS, Subject } from "../subject.ts";
import type { Row } from "../suite.ts";
import { amountOf, type Task } from "./task.ts";

/** JavaScript libraries that have no threads in Node: measured where ours has one. */
const singleThreaded = ["tfjs-wasm", "tfjs-cpu", "jax-js", "numpy-ts"];
/** Every peer there is. */
export const taskPeers: readonly string[] = [...singleThreaded, "onnxruntime-web", "pytorch", "pytorch-avx2"];
const pytorchEnvironments: { readonly [impl: string]: NodeJS.ProcessEnv } = {
  pytorch: process.env,
  "pytorch-avx2": avx2Environment,
};

/** Longer than this for one run, and a library is measured once. */
const PATIENCE_MS = 1000;
/** Longer than this for one run, going by a smaller task of the kind, and it is not measured at all. */
const DESPAIR_MS = 15_000;
/** For tasks shorter than a measurement. */
const WARM_UP_MS = 400;
/** About how long a measurement takes: an op runs so often in a row. */
const WANTED_MS = 15;

interface Contestant {
  readonly impl: string;
  readonly subject: Subject;
}

export interface MeasureOptions {
  readonly repeats: number;
  /** To see that all of it works, whatever the times are: nothing is warmed up. */
  readonly isQuick: boolean;
  /** After each run of ours, measure what the machine's units can do at that moment. */
  readonly withPeak?: boolean;
}

export interface Measured {
  /** Times of one run by contestant, ours first; those that cannot do the task are left out. */
  readonly times: ReadonlyMap<string, readonly number[]>;
  /** With `withPeak`: floating-point operations a second, one figure beside every time of ours. */
  readonly peaks: readonly number[];
}

/** Our library and its peers, each in a process of its own, given the same tasks in turn. */
export class Contest implements Disposable {
  readonly tier: string;
  /** Rows that say why a peer, or one of its tasks, is missing. */
  readonly skipped: Row[] = [];
  readonly #threads: number;
  /** Ours is the first. */
  #contestants: readonly Contestant[];
  /** Milliseconds for each unit of work, by contestant and kind of task. */
  readonly #pace = new Map<string, number>();

  private constructor(threads: number, tier: string, ours: Contestant) {
    this.#threads = threads;
    this.tier = tier;
    this.#contestants = [ours];
  }

  /** Starts ours and the peers asked for (all of them by default). */
  static async start(threads: number, wanted: readonly string[] | undefined): Promise<Contest> {
    const subject = startLibrary(OURS, threads);
    const { tier } = await subject.ask<{ tier: string }>({ start: true });
    const contest = new Contest(threads, tier, { impl: OURS, subject });
    for (const impl of taskPeers) {
      if (!(wanted?.includes(impl) ?? true) || (threads > 1 && singleThreaded.includes(impl))) continue;
      try {
        contest.#contestants = [...contest.#contestants, { impl, subject: await startPeer(impl, threads) }];
      } catch (error) {
        contest.#skip(impl, undefined, (error as Error).message);
      }
    }
    return contest;
  }

  async measure(task: Task, { repeats, isQuick, withPeak = false }: MeasureOptions): Promise<Measured> {
    const times = new Map<string, number[]>();
    const counts = new Map<string, number>();
    const peaks: number[] = [];
    for (const { impl, subject } of this.#contestants) {
      await this.#orLeave(impl, task, async () => {
        const count = await this.#prepare(impl, subject, task, isQuick ? 0 : WARM_UP_MS);
        if (count === undefined) return;
        times.set(impl, count === 0 ? [this.#pace.get(paceKey(impl, task))! * amountOf(task)] : []);
        counts.set(impl, count);
      });
    }
    for (let n = 0; n < repeats; n++) {
      for (const { impl, subject } of this.#contestants) {
        const count = counts.get(impl) ?? 0;
        if (count === 0) continue;
        await this.#orLeave(impl, task, async () => {
          if (this.#threads > 1) await setTimeout(SETTLE_MS);
          times.get(impl)!.push(await runTimes(subject, count));
        });
        if (!withPeak || impl !== OURS) continue;
        const { peakFlops } = await subject.ask<{ peakFlops: number | null }>({ peak: true });
        if (peakFlops !== null) peaks.push(peakFlops);
      }
    }
    for (const [impl, all] of times) if (all.length === 0) times.delete(impl);
    return { times, peaks };
  }

  [Symbol.dispose](): void {
    for (const { subject } of this.#contestants) subject[Symbol.dispose]();
  }

  /** How often to run the task in a measurement: 0 when one run took so long that it is enough; undefined: cannot do it. */
  async #prepare(impl: string, subject: Subject, task: Task, warmUpMs: number): Promise<number | undefined> {
    const key = paceKey(impl, task);
    const expectedMs = (this.#pace.get(key) ?? 0) * amountOf(task);
    if (expectedMs > DESPAIR_MS) {
      this.#skip(impl, task, `one run would take about ${Math.round(expectedMs / 1000)} s`);
      return undefined;
    }
    if (!(await subject.ask<{ isAble: boolean }>({ prepare: task })).isAble) return undefined;
    const first = await runTimes(subject, 1);
    this.#pace.set(key, first / amountOf(task));
    if (first > PATIENCE_MS) return 0;
    // The first run also starts threads and compiles: only the second says whether the task is a short one.
    let t = first > WANTED_MS ? await runTimes(subject, 1) : first;
    let count = 1;
    // Compiled code takes over after some thousand calls, and is compiled anew when a task is unlike those before.
    const warm = performance.now() + (t > WANTED_MS ? 0 : warmUpMs);
    for (; performance.now() < warm; t = await runTimes(subject, count)) count = Math.max(1, Math.round(WANTED_MS / t));
    return count;
  }

  /** A peer whose process ends takes no further part; ours must not. */
  async #orLeave(impl: string, task: Task, f: () => Promise<void>): Promise<void> {
    try {
      await f();
    } catch (error) {
      if (impl === OURS) throw error;
      this.#skip(impl, task, (error as Error).message);
      this.#contestants = this.#contestants.filter((c) => c.impl !== impl);
    }
  }

  #skip(impl: string, task: Task | undefined, reason: string): void {
    const what =
      task === undefined ? {} : task.op === "matmul" ? task.product : { ...task, shape: task.shape.join("x") };
    this.skipped.push({ impl, ...what, threads: this.#threads, skipped: reason });
  }
}

const OURS = "revnet-zero";

const runTimes = async (subject: Subject, count: number): Promise<number> =>
  (await subject.ask<{ timeMs: number }>({ run: count })).timeMs;

/** Products are of a kind by what is transposed; libraries differ there by factors. */
function paceKey(impl: string, task: Task): string {
  const how = task.op === "matmul" ? `${task.product.transA} ${task.product.transB}` : "";
  return `${impl} ${task.op} ${how}`;
}

async function startPeer(impl: string, threads: number): Promise<Subject> {
  const pytorch = pytorchEnvironments[impl];
  if (pytorch !== undefined) {
    const subject = await startPytorch("pytorch_tasks.py", { start: true, threads }, pytorch);
    if (typeof subject === "string") throw new Error(subject);
    return subject;
  }
  const subject = startLibrary(impl, threads);
  await subject.ask({ start: true });
  return subject;
}

function startLibrary(impl: string, threads: number): Subject {
  const env = { ...process.env, REVNET_THREADS: String(threads) };
  const path = fileURLToPath(new URL("./serve.ts", import.meta.url));
  return new Subject(impl, process.execPath, [...process.execArgv, path, impl, String(threads)], env);
}

/** How many times longer `peer` takes: the median of pairs measured one after the other. */
export function ratio(peer: readonly number[], ours: readonly number[]): number {
  return median(peer.map((t, i) => t / ours[i]!));
}
