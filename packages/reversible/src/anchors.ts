import type { BlockPolicy } from "./plan.ts";

/**
 * Where rebuilt float streams start anew. A drift grows from one anchor to the next, so that anchors bound it; they are put where it
 * was measured to exceed a tolerance: in the middle of the blocks it came from, and where these are one, that one keeps its input
 * and is run again from it.
 */
export class Anchors {
  readonly tolerance: number;
  readonly #inserted = new Map<number, "anchor" | "checkpoint">();

  constructor(tolerance: number) {
    this.tolerance = tolerance;
  }

  /** What was inserted, by block. */
  get inserted(): ReadonlyMap<number, BlockPolicy> {
    return this.#inserted;
  }

  /** The policies with the anchors among them. */
  among(policies: readonly BlockPolicy[]): BlockPolicy[] {
    return policies.map((p, i) => (p === "reconstruct" || p === "anchor" ? (this.#inserted.get(i) ?? p) : p));
  }

  /** Takes the drifts of the last backward pass, one a block: that of the streams which it and its followers rebuilt, or NaN. */
  insert(drifts: ArrayLike<number>, policies: readonly BlockPolicy[]): void {
    for (let first = 0; first < policies.length; first++) {
      if (!(drifts[first]! > this.tolerance)) continue;
      let end = first + 1;
      while (policies[end] === "reconstruct") end++;
      if (end - first > 1) this.#inserted.set((first + end) >> 1, "anchor");
      else this.#inserted.set(first, "checkpoint");
    }
  }
}
