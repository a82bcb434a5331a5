import type { Key, Tensor } from "@revnet-zero/tensor";
import { areSame, type GraphReplay, graphsOf, placesOf } from "./graph.ts";
import type { Replay } from "./replay.ts";
import type { Values } from "./values.ts";

/** A recording is taken down so often. */
const MOST_CAPTURES = 8;

/** Runs a replay: instruction by instruction or, where that is wanted and possible, as a graph of the device. */
export class Runner {
  readonly replay: Replay;
  /** Why the last call was no graph; undefined when it was. */
  whyNoGraph: string | undefined;
  readonly #isWanted: boolean;
  #graph: GraphReplay | undefined;
  /** What the last call used in place. */
  #places: readonly unknown[] | undefined;
  #captures = 0;
  #isOver = false;

  constructor(replay: Replay, isWanted: boolean) {
    this.replay = replay;
    this.#isWanted = isWanted && replay.engine.backend.openGraphs !== undefined;
    this.whyNoGraph = isWanted
      ? `the ${replay.engine.backend.name} backend has no graphs`
      : "not asked for (graph: true)";
  }

  run(args: readonly Tensor[], root: Key | undefined): Tensor[] {
    const values = this.replay.nextValues(root);
    return (this.#isWanted ? this.#asGraph(args, values) : undefined) ?? this.replay.run(args, values);
  }

  #asGraph(args: readonly Tensor[], values: Values): Tensor[] | undefined {
    const places = placesOf(this.replay, args);
    const before = this.#places;
    this.#places = places;
    if (this.#isOver) return undefined;
    // One run first compiles and loads all it needs.
    if (before === undefined) this.whyNoGraph = "the first call of a recording is no graph yet";
    else if (this.#graph === undefined || !areSame(this.#graph.places, places)) {
      // What it uses where it lies has to have come to rest.
      if (areSame(before, places)) this.#attempt(() => this.#capture(args, values));
      else this.whyNoGraph = "an argument that it uses in place lies elsewhere than before";
    }
    if (this.#graph === undefined || !areSame(this.#graph.places, places)) return undefined;
    this.whyNoGraph = this.#graph.isHeld ? "a result of its last call is still held" : undefined;
    return this.whyNoGraph === undefined ? this.#attempt(() => this.#graph!.run(args, values)) : undefined;
  }

  #capture(args: readonly Tensor[], values: Values): void {
    const { engine } = this.replay;
    this.#drop();
    if (Number.isFinite(engine.memoryLimitBytes))
      this.#giveUp("the engine has a memory limit, and a graph keeps what it works in");
    else if (++this.#captures > MOST_CAPTURES)
      this.#giveUp("arguments that it uses in place lie elsewhere time and again");
    else
      this.#graph = graphsOf(engine).capture(this.replay, args, values, () => {
        this.#graph = undefined;
        this.#giveUp("memory ran short, and what the graph kept was given back");
      });
  }

  #giveUp(reason: string): void {
    this.#isOver = true;
    this.whyNoGraph = reason;
  }

  /** What fails here is done instruction by instruction instead, which throws where the reason is another. */
  #attempt<T>(f: () => T): T | undefined {
    try {
      return f();
    } catch (error) {
      this.#drop();
      // Of a capture that failed another would fail too.
      this.#giveUp((error as Error).message);
      return undefined;
    }
  }

  #drop(): void {
    if (this.#graph !== undefined) graphsOf(this.replay.engine).drop(this.#graph);
    this.#graph = undefined;
  }

  dispose(): void {
    this.#drop();
    this.replay.dispose();
  }
}
