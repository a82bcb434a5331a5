import { categories, describeAll } from "@revnet-zero/tensor";
import type { OpRecord, Recording } from "./recording.ts";

/**
 * The recording in the Trace Event Format (JSON object form): phases, modules and ops as nested slices, bytes by category as counters, the
 * peak as a mark. Times are microseconds.
 */
export function chromeTrace({ ops, changes }: Recording, peak: number): string {
  const where = { pid: 1, tid: 1 };
  const events: object[] = [
    { ph: "M", name: "process_name", pid: 1, args: { name: "RevNet-Zero" } },
    { ph: "M", name: "thread_name", ...where, args: { name: "training step" } },
    ...slices(ops).map((slice) => ({ ph: "X", ...where, ...slice })),
  ];
  for (const { timeMs, bytes } of changes) {
    const args = Object.fromEntries(categories.map((c, i) => [c, bytes[i]]));
    events.push({ ph: "C", name: "live bytes", pid: 1, ts: timeMs * 1000, args });
  }
  const { timeMs } = changes[peak]!;
  events.push({ ph: "i", s: "p", name: "peak of memory", ...where, ts: timeMs * 1000 });
  return JSON.stringify({ traceEvents: events, displayTimeUnit: "ms" });
}

interface Slice {
  readonly name: string;
  readonly cat: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: object;
}

/** A slice for each op, and around neighbouring ops of one phase and module one for each part of their path. */
function slices(ops: readonly OpRecord[]): Slice[] {
  const found: Slice[] = [];
  const open: { readonly name: string; readonly start: number; end: number }[] = [];
  const close = (depth: number): void => {
    while (open.length > depth) {
      const { name, start, end } = open.pop()!;
      found.push({ name, cat: open.length === 0 ? "phase" : "module", ts: start * 1000, dur: (end - start) * 1000 });
    }
  };
  for (const op of [...ops].sort((a, b) => a.startMs - b.startMs || b.timeMs - a.timeMs)) {
    const phase = op.phase === "recompute" ? "backward" : op.phase;
    const path = [phase, ...(op.module === "" ? [] : op.module.split("."))];
    let shared = 0;
    while (shared < open.length && shared < path.length && open[shared]!.name === path[shared]) shared++;
    close(shared);
    for (const name of path.slice(shared)) open.push({ name, start: op.startMs, end: op.startMs });
    const end = op.startMs + op.timeMs;
    for (const slice of open) slice.end = Math.max(slice.end, end);
    const args = {
      phase: op.phase,
      module: op.module,
      inputs: describeAll(op.inputs),
      outputs: describeAll(op.outputs),
    };
    found.push({ name: op.op, cat: "op", ts: op.startMs * 1000, dur: op.timeMs * 1000, args });
  }
  close(0);
  return found;
}
