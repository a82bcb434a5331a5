import { planChain, problemOf, simulatedChain } from "@revnet-zero/memory";

export interface LongChain {
  readonly blocks: number;
  /** All of one kind, or every one of its own. */
  readonly areAlike: boolean;
  readonly planMs: number;
  /** How much longer the plan may take than the best one, at most. */
  readonly gap: number;
}

/** What it takes to plan a long chain within half of what it would keep. */
export function planLongChain(blocks: number, areAlike: boolean): LongChain {
  const { items, budgetBytes, trueTimes } = simulatedChain({ seed: 3, blocks, steps: 1 });
  // The first block of all policies, in everyone's place: choices before and after are its own.
  const one = items.findIndex(
    (item, i) => i > 0 && [i - 1, i, i + 1].every((k) => items[k]?.choices.length === 3) && item,
  );
  const chain = areAlike
    ? items.map((_, i) =>
        i === 0
          ? {
              ...items[one]!,
              keptBytes: items[one]!.keptBytes.slice(0, 1),
              forwardPeakBytes: items[one]!.forwardPeakBytes.slice(0, 1),
            }
          : items[one]!,
      )
    : items;
  const problem = problemOf(chain, (i, c) => trueTimes(0, areAlike ? one : i, c));
  const start = performance.now();
  const plan = planChain(problem, budgetBytes);
  const planMs = performance.now() - start;
  return { blocks, areAlike, planMs, gap: plan === undefined ? Number.NaN : plan.timeMs / plan.lowerBoundMs - 1 };
}
