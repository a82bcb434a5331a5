import { dtypes } from "./dtype.ts";
import { readEnvironment } from "./env.ts";
import { describe } from "./errors.ts";
import type { Meta } from "./op.ts";
import { numel } from "./shape.ts";

/** One executed op. `timeMs` is the time of the call, which on an asynchronous device is the time to enqueue. */
export interface OpEvent {
  readonly op: string;
  readonly module: string;
  readonly inputs: readonly Meta[];
  readonly outputs: readonly Meta[];
  readonly timeMs: number;
}

export type OpListener = (event: OpEvent) => void;

/** Listeners to every op. Costs nothing while there are none. */
export class Tracer {
  readonly #listeners = new Set<OpListener>();

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

  emit(event: OpEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

function line({ op, module, outputs, timeMs }: OpEvent, withModule: boolean): string {
  const shapes = outputs.map(describe).join(", ");
  const bytes = outputs.reduce((n, o) => n + numel(o.shape) * dtypes[o.dtype].bytes, 0);
  const path = withModule && module !== "" ? `${module} ` : "";
  return `${path}${op} -> ${shapes} ${bytes} bytes ${timeMs.toFixed(3)} ms`;
}
