import { dtypes } from "./dtype.ts";
import { readEnvironment } from "./env.ts";
import { describe } from "./errors.ts";
import type { Meta } from "./op.ts";
import { numel } from "./shape.ts";

/** An op that is run. */
export interface TracedOp {
  readonly op: string;
  readonly module: string;
  readonly inputs: readonly Meta[];
  readonly outputs: readonly Meta[];
}

/** One executed op. `timeMs` is the time of the call, which on an asynchronous device is the time to enqueue. */
export interface OpEvent extends TracedOp {
  /** When it began, as `performance.now()` counts. */
  readonly startMs: number;
  readonly timeMs: number;
}

export type OpListener = (event: OpEvent) => void;

/** Listeners to every op. Costs nothing while there are none. */
export class Tracer {
  readonly #listeners = new Set<OpListener>();
  #op = "";

  constructor() {
    const level = Number(readEnvironment("REVNET_DEBUG"));
    if (level >= 1) this.#listeners.add((e) => console.error(line(e, level >= 2)));
  }

  get isOn(): boolean {
    return this.#listeners.size > 0;
  }

  /** Calls `listener` after every op until the returned function is called. */
  listen(listener: OpListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Name of the op that is running, the innermost, while somebody listens; "" between ops. */
  get op(): string {
    return this.#op;
  }

  /** Runs an op; the listeners are told when it has run. */
  run<T>(traced: TracedOp, f: () => T): T {
    const outer = this.#op;
    this.#op = traced.op;
    const startMs = performance.now();
    try {
      const result = f();
      const event = { ...traced, startMs, timeMs: performance.now() - startMs };
      for (const listener of this.#listeners) listener(event);
      return result;
    } finally {
      this.#op = outer;
    }
  }
}

function line({ op, module, outputs, timeMs }: OpEvent, withModule: boolean): string {
  const shapes = outputs.map(describe).join(", ");
  const bytes = outputs.reduce((n, o) => n + numel(o.shape) * dtypes[o.dtype].bytes, 0);
  const path = withModule && module !== "" ? `${module} ` : "";
  return `${path}${op} -> ${shapes} ${bytes} bytes ${timeMs.toFixed(3)} ms`;
}
