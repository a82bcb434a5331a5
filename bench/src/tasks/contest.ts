import { fileURLToPath } from "node:url";
import { startPytorch } from "../pytorch.ts";
import { median } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row } from "../suite.ts";
import type { Task } from "./task.ts";

/** JavaScript libraries that have no threads in Node: measured where ours has one. */
const singleThreaded = ["tfjs-wasm", "tfjs-cpu", "jax-js", "numpy-ts"];
/** Every peer there is. */
export const taskPeers: readonly string[] = [...singleThreaded, "onnxruntime-web", "pytorch"];

/** Longer than this for one run, and a library is measured once. */
const PATIENCE_MS = 1000;
/** For tasks shorter than a measurement. */
const WARM_UP_MS = 400;
/** About how long a measurement takes: an op runs so often in a row. */
const WANTED_MS = 15;

export interface Contestant {
  readonly impl: string;
  readonly subject: Subject;
  readonly version: string;
}

export interface Started {
  /** Ours is the first. */
  readonly contestants: readonly Contestant[];
  readonly skipped: readonly Row[];
  readonly tier: string;
  readonly peakFlops: number | null;
}

interface StartAnswer {
  readonly version: string;
  readonly tier: string;
  readonly peakFlops: number | null;
}

/** Starts ours and the peers asked for, each in a process of its own; one that does not start is a row that says why. */
export async function startContest(threads: number, wanted: readonly string[] | undefined): Promise<Started> {
  const ours = await startLibrary("revnet-zero", threads);
  const contestants: Contestant[] = [{ impl: "revnet-zero", ...ours }];
  const skipped: Row[] = [];
  for (const impl of taskPeers) {
    if (!(wanted?.includes(impl) ?? true) || (threads > 1 && singleThreaded.includes(impl))) continue;
    try {
      contestants.push({ impl, ...(await startLibrary(impl, threads)) });
    } catch (error) {
      skipped.push({ impl, threads, skipped: (error as Error).message });
    }
  }
  const { tier, peakFlops } = ours.answer;
  return { contestants, skipped, tier, peakFlops };
}

async function startLibrary(impl: string, threads: number) {
  if (impl === "pytorch") {
    const subject = await startPytorch("pytorch_tasks.py", { start: true, threads });
    if (typeof subject === "string") throw new Error(subject);
    return { subject, version: "", answer: { version: "", tier: "", peakFlops: null } };
  }
  const env = { ...process.env, REVNET_THREADS: String(threads) };
  const path = fileURLToPath(new URL("./serve.ts", import.meta.url));
  const subject = new Subject(impl, process.execPath, [...process.execArgv, path, impl, String(threads)], env);
  const answer = await subject.ask<StartAnswer>({ start: true });
  return { subject, version: answer.version, answer };
}

/** Times of one run, for each contestant that can do the task, measured in turn. */
export async function measureTask(
  contestants: readonly Contestant[],
  task: Task,
  repeats: number,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const times = new Map<string, number[]>();
  const counts = new Map<string, number>();
  const run = async ({ subject }: Contestant, count: number): Promise<number> =>
    (await subject.ask<{ timeMs: number }>({ run: count })).timeMs;
  for (const c of contestants) {
    if (!(await c.subject.ask<{ isAble: boolean }>({ prepare: task })).isAble) continue;
    const first = await run(c, 1);
    let count = 1;
    // Compiled code takes over after some thousand calls, and is compiled anew when a task is unlike those before.
    const warm = performance.now() + (first > WANTED_MS ? 0 : WARM_UP_MS);
    for (let t = first; performance.now() < warm; t = await run(c, count))
      count = Math.max(1, Math.round(WANTED_MS / t));
    times.set(c.impl, first > PATIENCE_MS ? [first] : []);
    counts.set(c.impl, first > PATIENCE_MS ? 0 : count);
  }
  for (let n = 0; n < repeats; n++) {
    for (const c of contestants) {
      const count = counts.get(c.impl) ?? 0;
      if (count > 0) times.get(c.impl)!.push(await run(c, count));
    }
  }
  return times;
}

/** How many times longer `peer` takes: the median of pairs measured one after the other. */
export function ratio(peer: readonly number[], ours: readonly number[]): number {
  return median(peer.map((t, i) => t / ours[i]!));
}

export function stopContest({ contestants }: Started): void {
  for (const { subject } of contestants) subject[Symbol.dispose]();
}
