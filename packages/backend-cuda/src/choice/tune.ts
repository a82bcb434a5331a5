import type { CudaDevice } from "../device/device.ts";
import { type Choice, keyOf } from "./kernelChoices.ts";
import type { TuningEntry } from "./tuningTable.ts";

/** So much faster than the first must another be: less is noise, and the first is what everybody else runs. */
const LEAST_GAIN = 0.03;

export interface TuneReport {
  /** Problems that more than one kernel serves. */
  readonly problems: number;
  /** Those for which another than the first is faster. */
  readonly changed: number;
  /** What all problems take once: with the first kernels, and with the fastest. */
  readonly firstMs: number;
  readonly bestMs: number;
  readonly path: string;
}

/**
 * Times the kernels of every problem met so far and writes the tuning table that later processes read; this one goes on as it
 * began. `log` is told each problem that changes.
 */
export function tune(device: CudaDevice, log: (line: string) => void = () => undefined): TuneReport {
  const entries: Record<string, TuningEntry> = {};
  let [problems, changed, firstMs, bestMs] = [0, 0, 0, 0];
  for (const choice of device.choices.made) {
    if (choice.kernels.length < 2) continue;
    problems++;
    const found = fastest(choice);
    if (found === undefined) continue;
    firstMs += found.firstMs;
    bestMs += found.timeMs;
    const key = keyOf(choice.op, choice.problem);
    entries[key] = found;
    if (found.kernel === choice.kernels[0]) continue;
    changed++;
    log(`${key}: ${found.kernel} ${found.timeMs.toFixed(4)} ms, ${choice.kernels[0]} ${found.firstMs.toFixed(4)} ms`);
  }
  return { problems, changed, firstMs, bestMs, path: device.tuning.write(entries) };
}

function fastest({ kernels, measure }: Choice): TuningEntry | undefined {
  const [first, ...others] = kernels as [string, ...string[]];
  const firstMs = measure(first);
  if (firstMs === undefined) return undefined;
  let best: TuningEntry = { kernel: first, timeMs: firstMs, firstMs };
  for (const kernel of others) {
    const timeMs = measure(kernel);
    if (timeMs !== undefined && timeMs < best.timeMs * (1 - LEAST_GAIN)) best = { kernel, timeMs, firstMs };
  }
  return best;
}

const ROUNDS = 5;
/** A round is as many runs as this takes, at least. */
const ROUND_MS = 2;
const MOST_RUNS = 50;

/** The median time of a run on the device, in milliseconds. */
export function timeOnDevice({ native, guard }: CudaDevice, run: () => void): number {
  const timed = (runs: number): number =>
    guard(() => {
      const first = native.recordEvent();
      for (let i = 0; i < runs; i++) run();
      return native.elapsed(first, native.recordEvent()) / runs;
    });
  timed(2); // what is loaded or set up at first
  const runs = Math.max(1, Math.min(MOST_RUNS, Math.ceil(ROUND_MS / Math.max(timed(1), 1e-3))));
  const times = Array.from({ length: ROUNDS }, () => timed(runs)).sort((a, b) => a - b);
  return times[ROUNDS >> 1]!;
}
