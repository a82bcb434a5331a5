import type { Module } from "@revnet-zero/nn";
import {
  callSite,
  categories,
  type Engine,
  type MemoryCategory,
  type MemoryObserver,
  type OpEvent,
  type Shape,
  type Storage,
} from "@revnet-zero/tensor";
import type { BufferLife, Change, OpRecord, Recording, StepPhase } from "./recording.ts";

export interface RecorderOptions {
  /** Whose parameters and buffers are called by their names. */
  readonly model?: Module | undefined;
  /** Note file and line of every buffer's making: some microseconds each. */
  readonly callSites?: boolean | undefined;
}

/** Writes down what happens on an engine, from its making until `finish`. */
export class Recorder implements MemoryObserver {
  readonly #engine: Engine;
  readonly #notesCallSites: boolean;
  readonly #names: ReadonlyMap<Storage, string>;
  readonly #lives = new Map<Storage, BufferLife>();
  readonly #buffers: BufferLife[] = [];
  readonly #ops: OpRecord[] = [];
  /** Ops that have run and may turn out to be parts of one that ends later. */
  readonly #parts: OpEvent[] = [];
  readonly #changes: Change[] = [];
  readonly #bytes: number[];
  readonly #start = performance.now();
  readonly #stops: readonly (() => void)[];
  #isAfterBackward = false;
  /** That of the last op or allocation: a release belongs to what came before it. */
  #latest: StepPhase = "forward";

  constructor(engine: Engine, { model, callSites = false }: RecorderOptions = {}) {
    this.#engine = engine;
    this.#notesCallSites = callSites;
    this.#names = namesOf(model);
    this.#bytes = categories.map((c) => engine.ledger.liveBytesOf(c));
    for (const storage of engine.storages) {
      this.#begin(storage, [], -1, { op: "", module: "", phase: "forward" }, storage.site);
    }
    this.#change("forward");
    this.#stops = [engine.ledger.watch(this), engine.trace.listen((event) => this.#ran(event))];
  }

  allocated(storage: Storage, shape: Shape): void {
    const { trace, modulePath } = this.#engine;
    const phase = this.#phase();
    this.#latest = phase;
    this.#bytes[categories.indexOf(storage.category)]! += storage.bytes;
    const place = { op: trace.op, module: modulePath.join("."), phase };
    this.#begin(
      storage,
      shape,
      this.#changes.length,
      place,
      this.#notesCallSites ? callSite("/profiler/recorder.") : undefined,
    );
    this.#change(phase);
  }

  moved(storage: Storage, from: MemoryCategory): void {
    this.#bytes[categories.indexOf(from)]! -= storage.bytes;
    this.#bytes[categories.indexOf(storage.category)]! += storage.bytes;
    this.#lives.get(storage)?.purposes.push({ since: this.#changes.length, category: storage.category });
    this.#change(this.#latest);
  }

  freed(storage: Storage): void {
    this.#bytes[categories.indexOf(storage.category)]! -= storage.bytes;
    const life = this.#lives.get(storage);
    if (life !== undefined) life.died = this.#changes.length;
    this.#lives.delete(storage);
    this.#change(this.#latest);
  }

  /** Stops, and gives what was written down. */
  finish(): Recording {
    for (const stop of this.#stops) stop();
    this.#change(this.#latest);
    return {
      buffers: this.#buffers,
      ops: this.#ops,
      changes: this.#changes,
      timeMs: this.#now(),
      reservedBytes: this.#engine.backend.reservedBytes,
    };
  }

  #begin(
    storage: Storage,
    shape: Shape,
    born: number,
    place: { readonly op: string; readonly module: string; readonly phase: StepPhase },
    site: string | undefined,
  ): void {
    const { bytes, dtype, category } = storage;
    const life: BufferLife = {
      ...place,
      bytes,
      dtype,
      shape,
      name: this.#names.get(storage),
      callSite: site,
      born,
      died: Number.POSITIVE_INFINITY,
      purposes: [{ since: born, category }],
    };
    this.#lives.set(storage, life);
    this.#buffers.push(life);
  }

  #ran(event: OpEvent): void {
    let parts = 0;
    // What began later and ended earlier is a part of this op.
    while (this.#parts.length > 0 && this.#parts.at(-1)!.startMs >= event.startMs) parts += this.#parts.pop()!.timeMs;
    this.#parts.push(event);
    const { op, module, inputs, outputs, startMs, timeMs } = event;
    this.#ops.push({
      op,
      module,
      phase: this.#phase(),
      inputs,
      outputs,
      startMs: startMs - this.#start,
      timeMs,
      selfMs: Math.max(0, timeMs - parts),
    });
  }

  #change(phase: StepPhase): void {
    this.#changes.push({ timeMs: this.#now(), bytes: [...this.#bytes], phase });
  }

  #now(): number {
    return performance.now() - this.#start;
  }

  #phase(): StepPhase {
    const { currentWalk, isReplay, modulePath } = this.#engine;
    if (currentWalk !== undefined) {
      this.#isAfterBackward = true;
      return isReplay ? "recompute" : "backward";
    }
    if (modulePath.length > 0) this.#isAfterBackward = false;
    return this.#isAfterBackward ? "update" : "forward";
  }
}

function namesOf(model: Module | undefined): ReadonlyMap<Storage, string> {
  const tensors = [...(model?.namedParameters() ?? []), ...(model?.namedBuffers() ?? [])];
  return new Map(tensors.map(([name, { storage }]) => [storage, name]));
}
