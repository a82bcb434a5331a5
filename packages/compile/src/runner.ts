import type { Key, Tensor } from "@revnet-zero/tensor";
import { type GraphReplay, graphsOf } from "./graph.ts";
import type { Replay } from "./replay.ts";

/** Runs a replay: instruction by instruction or, where that is wanted and possible, as a graph of the device. */
export class Runner {
  readonly replay: Replay;
  /** Why the last call was no graph; undefined when it was. */
  whyNoGraph: string | undefined;
  readonly #isWanted: boolean;
  #graph: GraphReplay | undefined;
  #runs = 0;

  constructor(replay: Replay, isWanted: boolean) {
    this.replay = replay;
    this.#isWanted = isWanted && replay.engine.backend.openGraphs !== undefined;
    this.whyNoGraph = isWanted
      ? `the ${replay.engine.backend.name} backend has no graphs`
      : "not asked for (graph: true)";
  }

  run(args: readonly Tensor[], root: Key | undefined): Tensor[] {
    if (this.#isWanted) {
      const results = this.#asGraph(args, root);
      if (results !== undefined) return results;
    }
    return this.replay.run(args, root);
  }

  #asGraph(args: readonly Tensor[], root: Key | undefined): Tensor[] | undefined {
    // One run first compiles and loads all it needs. Of a capture that failed another would fail too.
    if (++this.#runs === 1) this.whyNoGraph = "the first call of a recording is no graph yet";
    else if (this.#runs === 2) this.#attempt(() => this.#capture(args, root));
    if (this.#graph === undefined) return undefined;
    this.whyNoGraph = this.#graph.obstacle(args);
    if (this.whyNoGraph !== undefined) return undefined;
    return this.#attempt(() => this.#graph!.run(args, root));
  }

  #capture(args: readonly Tensor[], root: Key | undefined): void {
    const { engine } = this.replay;
    if (Number.isFinite(engine.memoryLimitBytes)) {
      this.whyNoGraph = "the engine has a memory limit, and a graph keeps what it works in";
      return;
    }
    this.#graph = graphsOf(engine).capture(this.replay, args, root, () => {
      this.#graph = undefined;
      this.whyNoGraph = "memory ran short, and what the graph kept was given back";
    });
  }

  /** What fails here is done instruction by instruction instead, which throws where the reason is another. */
  #attempt<T>(f: () => T): T | undefined {
    try {
      return f();
    } catch (error) {
      this.#drop();
      this.whyNoGraph = (error as Error).message;
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
