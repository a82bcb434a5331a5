import type { Engine, Graph, Storage, Tensor } from "@revnet-zero/tensor";
import { Arena } from "./arena.ts";
import type { Slot } from "./program.ts";
import type { MadeSlot, Replay } from "./replay.ts";
import type { Values } from "./values.ts";

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

/** Buffers of a graph's own. */
interface Buffers {
  /** Where arguments are copied to, by their index. */
  readonly inputs: ReadonlyMap<number, Storage>;
  /** What it returns, and what the host writes. */
  readonly lasting: ReadonlyMap<Slot, Storage>;
}

/** A replay that the device has taken down: all its work is one call, on buffers that stay where they are. */
export class GraphReplay {
  readonly #replay: Replay;
  readonly #graph: Graph<unknown>;
  readonly #buffers: Buffers;
  /** Buffers of arguments that it uses where they lie. */
  readonly places: readonly unknown[];

  private constructor(replay: Replay, graph: Graph<unknown>, places: readonly unknown[], buffers: Buffers) {
    this.#replay = replay;
    this.#graph = graph;
    this.places = places;
    this.#buffers = buffers;
  }

  /** Throws where the device cannot take it down. The arena is asked for last: making the buffers may have others give theirs back. */
  static capture(replay: Replay, arena: () => Arena, args: readonly Tensor[], values: Values): GraphReplay {
    const { engine } = replay;
    const inputs = new Map<number, Storage>();
    const lasting = new Map<Slot, Storage>();
    try {
      for (const slot of replay.argumentSlots) {
        const { storage } = args[slot.index]!;
        const { dtype, elements } = storage;
        if (isCopied(replay, slot, storage)) inputs.set(slot.index, engine.allocate({ shape: [elements], dtype }));
      }
      for (const slot of replay.lasting) lasting.set(slot, replay.make(slot));
      const shared = arena();
      const place = shared.place(replay.lifetimes());
      const dataOf = (slot: Slot): unknown => {
        if (slot.kind === "argument") return (inputs.get(slot.index) ?? args[slot.index]!.storage).data;
        return lasting.get(slot)?.data ?? place(slot as MadeSlot);
      };
      const graph = shared.memory.capture(values.keys, () => replay.issue(dataOf, values));
      return new GraphReplay(replay, graph, placesOf(replay, args), { inputs, lasting });
    } catch (error) {
      for (const storage of [...inputs.values(), ...lasting.values()]) storage.release();
      throw error;
    }
  }

  /** Whether a result of the last launch is somebody's: the next one would write over it. */
  get isHeld(): boolean {
    return [...this.#buffers.lasting.values()].some((s) => s.references > 1);
  }

  run(args: readonly Tensor[], values: Values): Tensor[] {
    const { inputs, lasting } = this.#buffers;
    this.#replay.writeValues((slot) => lasting.get(slot)!.data, values);
    this.#graph.launch(
      [...inputs].map(([index, { data }]) => [args[index]!.storage.data, data] as const),
      values.keys,
    );
    for (const storage of lasting.values()) storage.version++;
    return this.#replay.results(args, (slot) => lasting.get(slot)!);
  }

  dispose(): void {
    this.#graph.dispose();
    for (const storage of [...this.#buffers.inputs.values(), ...this.#buffers.lasting.values()]) storage.release();
  }
}

/** The graphs of an engine, and the memory they share: there for as long as there is one. */
class EngineGraphs {
  readonly #engine: Engine;
  readonly #graphs = new Map<GraphReplay, () => void>();
  #arena: Arena | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Takes a replay down. `onRevoked` is told when memory ran short and the graph is gone. Throws where it cannot be. */
  capture(replay: Replay, args: readonly Tensor[], values: Values, onRevoked: () => void): GraphReplay {
    const arena = (): Arena => {
      this.#arena ??= new Arena(this.#engine, () => this.#revoke());
      return this.#arena;
    };
    try {
      const graph = GraphReplay.capture(replay, arena, args, values);
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
    if (this.#graphs.size > 0) return;
    this.#arena?.dispose();
    this.#arena = undefined;
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
