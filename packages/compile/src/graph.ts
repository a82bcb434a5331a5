import type { Engine, Graph, GraphMemory, Key, Storage, Tensor } from "@revnet-zero/tensor";
import type { Slot } from "./program.ts";
import type { Replay } from "./replay.ts";

/** Arguments up to so many bytes are copied to where a graph reads them; others, and those it writes to, must lie where they lay. */
const MOST_COPIED = 2 ** 26;

/** The buffers of arguments that a graph would use where they lie. */
export const placesOf = (replay: Replay, args: readonly Tensor[]): readonly unknown[] =>
  replay.argumentSlots.flatMap((slot) => {
    const { storage } = args[slot.index]!;
    return isCopied(replay, slot, storage) ? [] : [storage.data];
  });

export const areSame = (a: readonly unknown[], b: readonly unknown[]): boolean => a.every((place, i) => place === b[i]);

const isCopied = (replay: Replay, slot: Slot, { bytes }: Storage): boolean =>
  bytes <= MOST_COPIED && !replay.written.includes(slot);

/** A replay that the device has taken down: all its work is one call, on buffers that stay where they are. */
export class GraphReplay {
  readonly #replay: Replay;
  readonly #graph: Graph<unknown>;
  /** Where arguments are copied to, by their index. */
  readonly #inputs: ReadonlyMap<number, Storage>;
  /** Buffers of arguments that it uses where they lie. */
  readonly places: readonly unknown[];
  readonly #results: ReadonlyMap<Slot, Storage>;

  private constructor(
    replay: Replay,
    graph: Graph<unknown>,
    buffers: {
      readonly inputs: ReadonlyMap<number, Storage>;
      readonly places: readonly unknown[];
      readonly results: ReadonlyMap<Slot, Storage>;
    },
  ) {
    this.#replay = replay;
    this.#graph = graph;
    this.#inputs = buffers.inputs;
    this.places = buffers.places;
    this.#results = buffers.results;
  }

  /** Throws where the device cannot take it down. Memory is asked for last: making the buffers may have others give theirs back. */
  static capture(
    replay: Replay,
    memory: () => GraphMemory<unknown>,
    args: readonly Tensor[],
    root: Key | undefined,
  ): GraphReplay {
    const { engine } = replay;
    const inputs = new Map<number, Storage>();
    let results: ReadonlyMap<Slot, Storage> = new Map();
    try {
      for (const slot of replay.argumentSlots) {
        const { storage } = args[slot.index]!;
        const { dtype, elements } = storage;
        if (isCopied(replay, slot, storage)) inputs.set(slot.index, engine.allocate({ shape: [elements], dtype }));
      }
      results = replay.makeResults();
      const keys = replay.keys.from(root);
      const graph = memory().capture(keys, () => {
        replay.execute((index) => inputs.get(index) ?? args[index]!.storage, results, keys);
      });
      return new GraphReplay(replay, graph, { inputs, places: placesOf(replay, args), results });
    } catch (error) {
      for (const storage of [...inputs.values(), ...results.values()]) storage.release();
      throw error;
    }
  }

  /** Whether a result of the last launch is somebody's: the next one would write over it. */
  get isHeld(): boolean {
    return [...this.#results.values()].some((s) => s.references > 1);
  }

  run(args: readonly Tensor[], root: Key | undefined): Tensor[] {
    const inputs = [...this.#inputs].map(([index, { data }]) => [args[index]!.storage.data, data] as const);
    this.#graph.launch(inputs, this.#replay.keys.from(root));
    for (const storage of this.#results.values()) storage.version++;
    return this.#replay.results(args, this.#results);
  }

  dispose(): void {
    this.#graph.dispose();
    for (const storage of [...this.#inputs.values(), ...this.#results.values()]) storage.release();
  }
}

/** The graphs of an engine, and the memory they share: in the ledger for as long as there is one. */
class EngineGraphs {
  readonly #engine: Engine;
  readonly #graphs = new Map<GraphReplay, () => void>();
  #memory: GraphMemory<unknown> | undefined;
  /** As the ledger has it. */
  #bytes: number | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Takes a replay down. `onRevoked` is told when memory ran short and the graph is gone. Throws where it cannot be. */
  capture(replay: Replay, args: readonly Tensor[], root: Key | undefined, onRevoked: () => void): GraphReplay {
    const { backend } = this.#engine;
    const memory = (): GraphMemory<unknown> => {
      this.#memory ??= backend.openGraphs!(() => this.#revoke());
      return this.#memory;
    };
    // While it is taken down, what it uses of the memory is counted buffer by buffer.
    this.#count(undefined);
    try {
      const graph = GraphReplay.capture(replay, memory, args, root);
      this.#graphs.set(graph, onRevoked);
      return graph;
    } finally {
      this.#settle();
    }
  }

  drop(graph: GraphReplay): void {
    if (!this.#graphs.delete(graph)) return;
    graph.dispose();
    this.#settle();
  }

  #revoke(): void {
    for (const [graph, onRevoked] of [...this.#graphs]) {
      this.drop(graph);
      onRevoked();
    }
  }

  /** Memory without graphs is given back. */
  #settle(): void {
    if (this.#graphs.size > 0) this.#count(this.#memory!.bytes);
    else {
      this.#count(undefined);
      this.#memory?.dispose();
      this.#memory = undefined;
    }
  }

  #count(bytes: number | undefined): void {
    const { ledger } = this.#engine;
    if (this.#bytes !== undefined) ledger.freed("workspace", this.#bytes);
    if (bytes !== undefined) ledger.allocated("workspace", bytes);
    this.#bytes = bytes;
  }
}

const ofEngines = new WeakMap<Engine, EngineGraphs>();

/** The graphs of an engine. */
export function graphsOf(engine: Engine): EngineGraphs {
  let graphs = ofEngines.get(engine);
  if (graphs === undefined) {
    graphs = new EngineGraphs(engine);
    ofEngines.set(engine, graphs);
  }
  return graphs;
}
