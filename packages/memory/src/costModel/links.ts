import type { OffloadLink } from "@revnet-zero/reversible";
import type { Engine } from "@revnet-zero/tensor";
import type { Link } from "../planner/problem.ts";
import type { PlannedChain } from "./chains.ts";

/** The offload stores that plans may use and that copy beside the computation, each once. */
export class Links {
  readonly #engine: Engine;
  readonly #chains: readonly PlannedChain[];

  /** `chains`: those that are offered an offloading policy. */
  constructor(engine: Engine, chains: readonly PlannedChain[]) {
    this.#engine = engine;
    this.#chains = chains;
  }

  #each(): OffloadLink[] {
    const stores = new Set(this.#chains.flatMap(({ offload }) => offload ?? []));
    return [...stores].flatMap((store) => store.link?.(this.#engine) ?? []);
  }

  /** What plans are to reckon with: the slowest of them. */
  forPlans(): Link | undefined {
    const [slowest] = this.#each().sort((a, b) => a.bytesPerMs - b.bytesPerMs);
    if (slowest === undefined) return undefined;
    const { bytesPerMs, inFlightBytes, isInLedger } = slowest;
    return { bytesPerMs, mostBytes: inFlightBytes, isLive: isInLedger };
  }

  /** Milliseconds so far that the computation waited for copies. */
  waitsMs(): number {
    return this.#each().reduce((sum, link) => sum + link.waitsMs(), 0);
  }

  /**
   * Milliseconds at which the backend has done what it was told (some go on computing while the program does), on a clock that stands while the
   * computation waits for copies: plans reckon with these apart.
   */
  clock(): () => number {
    const { backend } = this.#engine;
    const { synchronize } = backend as { synchronize?: () => void };
    return () => {
      synchronize?.call(backend);
      return performance.now() - this.waitsMs();
    };
  }
}
