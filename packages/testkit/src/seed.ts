import { readEnvironment } from "@revnet-zero/tensor";
import type fc from "fast-check";

/** A random source that a seed determines: the values of a sample, while fast-check draws its structure. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 0;
  }
  /** Uniform in [0, 1). SplitMix32: good enough to draw test values, and independent of the library's generator. */
  unit(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 4294967296;
  }
  between(low: number, high: number): number {
    return low + (high - low) * this.unit();
  }
  /** An integer from low to high, both included. */
  integer(low: number, high: number): number {
    return Math.floor(this.between(low, high + 1));
  }
  pick<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length - 1)]!;
  }
  /** 0, 1, ..., n - 1 in some order. */
  permutation(n: number): number[] {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(0, i);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}

/** Parameters of every property: the number of runs, and the seed where one is given or REVNET_SEED is set. */
export function runs<T>(numRuns: number, seed?: number): fc.Parameters<T> {
  const fixed = readEnvironment("REVNET_SEED");
  const chosen = seed ?? (fixed === "" ? undefined : Number(fixed));
  return { numRuns, ...(chosen === undefined ? {} : { seed: chosen }) };
}
