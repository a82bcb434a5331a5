import fc from "fast-check";
import type { PlanChoice, PlanItem, PlanProblem, Table } from "../../src/index.ts";

const policies = ["store", "checkpoint", "reconstruct", "offload"] as const;

/** Numbers of a seeded generator: instances of many numbers, drawn by one of fast-check's. */
export function numbers(seed: number): { integer(least: number, most: number): number; chance(p: number): boolean } {
  let state = seed >>> 0;
  const next = (): number => {
    // Source: Steele and Vigna 2014, SplitMix32 as commonly written.
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
  return { integer: (least, most) => least + Math.floor(next() * (most - least + 1)), chance: (p) => next() < p };
}

export interface InstanceOptions {
  readonly length: number;
  readonly seed: number;
  readonly hasTransfers?: boolean;
  /** Bytes that depend on the neighbours' choices in any way, instead of as those of real blocks. */
  readonly isArbitrary?: boolean;
  /** All blocks alike, as in most networks. */
  readonly isUniform?: boolean;
}

/**
 * A chain of blocks with whole-number costs: a fifth of them cannot be rebuilt, and every item's parameters have gradients that are live
 * in the backward passes of all items before it.
 */
export function instance({
  length,
  seed,
  hasTransfers = false,
  isArbitrary = false,
  isUniform = false,
}: InstanceOptions): PlanProblem {
  const { integer, chance } = numbers(seed);
  const streams = integer(1, 4);
  const draw = () => {
    const inner = streams * integer(3, 12);
    return {
      inner,
      forwardMs: integer(5, 30),
      gradients: integer(0, 4),
      isReversible: chance(0.8),
      extraMs: integer(0, 3),
    };
  };
  const one = draw();
  const blocks = Array.from({ length }, () => (isUniform ? one : draw()));
  let laterGradients = 0;
  const items: PlanItem[] = [];
  for (let i = length - 1; i >= 0; i--) {
    const { inner, forwardMs, gradients, isReversible, extraMs } = blocks[i]!;
    laterGradients += gradients;
    const names = policies.filter((p) => (p !== "reconstruct" || isReversible) && (p !== "offload" || hasTransfers));
    const choices: PlanChoice[] = names.map((policy) => ({
      policy,
      forwardMs,
      backwardMs: 2 * forwardMs + (policy === "store" ? 0 : forwardMs) + (policy === "reconstruct" ? extraMs : 0),
      ...(policy === "offload" ? { transferBytes: streams } : {}),
    }));
    const neighbours = (j: number): number => {
      if (j < 0 || j >= length) return 1;
      return policies.filter(
        (p) => (p !== "reconstruct" || blocks[j]!.isReversible) && (p !== "offload" || hasTransfers),
      ).length;
    };
    const own = (policy: string): number => ({ store: inner, checkpoint: streams })[policy] ?? 0;
    const any = (rows: number, columns: number, most: number): Table =>
      Array.from({ length: rows }, () => Array.from({ length: columns }, () => integer(0, most)));
    const [before, after] = [neighbours(i - 1), neighbours(i + 1)];
    const grads = laterGradients;
    items.unshift({
      name: `block ${i}`,
      choices,
      keptBytes: isArbitrary
        ? any(before, names.length, inner)
        : Array.from({ length: before }, (_, a) =>
            names.map((p) => own(p) + (a === 2 && p !== "reconstruct" ? streams : 0)),
          ),
      forwardPeakBytes: isArbitrary
        ? any(before, names.length, 2 * inner)
        : Array.from({ length: before }, () => names.map(() => inner)),
      backwardPeakBytes: isArbitrary
        ? any(names.length, after, 2 * inner + grads)
        : names.map((p) => Array.from({ length: after }, () => inner + 2 * streams - own(p) + grads)),
    });
  }
  // A power of two below: sums of bytes that are queued do not round.
  if (!hasTransfers) return { items };
  const [bytesPerMs, isLive] = [integer(1, 10) / 16, chance(0.7)];
  return { items, link: { bytesPerMs, isLive, ...(chance(0.5) ? { mostBytes: integer(0, 2 * streams) } : {}) } };
}

/** Short chains, as their options. */
export const instances = (maxLength: number): fc.Arbitrary<InstanceOptions> =>
  fc.record({
    length: fc.integer({ min: 1, max: maxLength }),
    seed: fc.nat(),
    hasTransfers: fc.boolean(),
    isArbitrary: fc.boolean(),
  });

/** Every combination of choices. */
export function* allPlans({ items }: PlanProblem): Generator<number[]> {
  const choices = items.map(() => 0);
  for (;;) {
    yield [...choices];
    let i = items.length - 1;
    while (i >= 0 && ++choices[i]! === items[i]!.choices.length) choices[i--] = 0;
    if (i < 0) return;
  }
}
