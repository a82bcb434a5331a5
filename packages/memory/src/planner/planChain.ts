import { evaluatePlan } from "./evaluate.ts";
import { type Extension, type ExtensionRules, emptyFront, extend, type Front, thin } from "./fronts.ts";
import { type LowerBound, lowerBoundOf, noBound, restMs } from "./lowerBound.ts";
import { liveBytesOf, type Plan, type PlanProblem, transferMs } from "./problem.ts";

export interface PlanOptions {
  /**
   * Plans kept for each choice of an item. Chains of unlike blocks can have more that may become the best one; then lower bounds on what
   * completes a plan decide which are looked at, and which can be left out for good. Default 100.
   */
  readonly width?: number;
  /**
   * Plans kept in that second search, before it settles for an answer that is not proven best. Default: four million over the
   * number of items, which takes about a second at most.
   */
  readonly proofWidth?: number;
}

/** Sums in another order differ by rounding: a plan that is better by less is not looked for. */
const ROUNDING = 1e-9;

/**
 * The plan of least time whose peak is within the budget; undefined where there is none.
 *
 * Dynamic program over the items. A backward pass frees what later items kept before it comes to an item, so that every peak depends on
 * what the items before keep: the state is the bytes live, with the last choice, the bytes queued for the offload store, and what is
 * fetched meanwhile. Of states that agree in the last choice, those are kept that no other dominates. Without a bound on their number the
 * plan is exact. Source: Beaumont et al. 2019 (rotor), for chains that are only checkpointed; we differ: policies instead of checkpoints,
 * fronts instead of a table over memory slots, and tables by neighbouring choices.
 */
export function planChain(
  problem: PlanProblem,
  budgetBytes: number,
  { width = 50, proofWidth = Math.ceil(4e6 / problem.items.length) }: PlanOptions = {},
): Plan | undefined {
  const all = search(problem, budgetBytes, { width, stopsWhenCut: true });
  if (!all.isCut) return all.choices && proven(problem, all.choices);
  const bound = lowerBoundOf(problem, budgetBytes);
  const first = search(problem, budgetBytes, { width: width, bound });
  // The narrow search may have left out all that fits; the wide one then has no time to beat.
  const firstPlan = first.choices && proven(problem, first.choices);
  const limitMs = firstPlan === undefined ? Number.POSITIVE_INFINITY : firstPlan.timeMs * (1 - ROUNDING);
  const second = search(problem, budgetBytes, { width: proofWidth, bound, limitMs, stopsWhenCut: true });
  const secondPlan = second.choices && proven(problem, second.choices);
  // What is waited for at the very end is not limited.
  const isBetter = firstPlan === undefined || (secondPlan !== undefined && secondPlan.timeMs < firstPlan.timeMs);
  const plan = isBetter ? secondPlan : firstPlan;
  if (plan === undefined || !second.isCut) return plan;
  const least = Math.min(...problem.items[0]!.choices.map((_, c) => startingWith(problem, bound, c)));
  return { ...plan, lowerBoundMs: Math.min(plan.timeMs, least) };
}

function proven(problem: PlanProblem, choices: readonly number[]): Plan {
  const cost = evaluatePlan(problem, choices);
  return { choices, ...cost, lowerBoundMs: cost.timeMs };
}

function startingWith({ items }: PlanProblem, bound: LowerBound, choice: number): number {
  const { choices, keptBytes } = items[0]!;
  const { forwardMs, backwardMs } = choices[choice]!;
  return forwardMs + backwardMs + restMs(bound(0, choice), keptBytes[0]![choice]!);
}

/** The least budget that any plan fits into: bisection to the byte. */
export function leastPeakBytes(problem: PlanProblem): number {
  const width = Number.POSITIVE_INFINITY;
  const fits = (budget: number): boolean => search(problem, budget, { width, isTimeless: true }).choices !== undefined;
  const some = problem.items.map(() => 0);
  let [tooLow, enough] = [-1, Math.ceil(evaluatePlan(problem, some).peakBytes)];
  while (enough - tooLow > 1) {
    const middle = Math.floor((tooLow + enough) / 2);
    if (fits(middle)) enough = middle;
    else tooLow = middle;
  }
  return enough;
}

interface SearchOptions {
  /** Plans kept for each choice: those that promise most by the bound. */
  readonly width: number;
  readonly bound?: LowerBound;
  /** Plans that cannot end below it are left out. */
  readonly limitMs?: number;
  /** Gives up where more plans than `width` would be kept. */
  readonly stopsWhenCut?: boolean;
  /** Looks for any plan that fits. */
  readonly isTimeless?: boolean;
}

interface Found {
  readonly choices: readonly number[] | undefined;
  /** Whether plans were left out that might have become the best one. */
  readonly isCut: boolean;
}

function search(
  problem: PlanProblem,
  budget: number,
  { width, bound, limitMs = Number.POSITIVE_INFINITY, stopsWhenCut = false, isTimeless = false }: SearchOptions,
): Found {
  const { items, link } = problem;
  const levels: (readonly Front[])[] = [];
  let isCut = false;
  let fronts: readonly Front[] = [startOfChain];
  for (const [i, item] of items.entries()) {
    const next: Front[] = [];
    for (const [c, choice] of item.choices.entries()) {
      const rest = bound?.(i, c) ?? noBound;
      const rulesWhile = (fetchedBytes: number): ExtensionRules => ({
        link,
        forwardMs: choice.forwardMs,
        transferBytes: choice.transferBytes ?? 0,
        mostBytes: budget,
        mostLiveBytes: budget - liveBytesOf(link, fetchedBytes) - Math.min(...item.backwardPeakBytes[c]!),
        rest,
        limitMs,
      });
      for (const [fetchedBytes, extensions] of extensionsBy(problem, i, c, fronts, budget, isTimeless)) {
        const front = emptyFront(c, fetchedBytes);
        extend(front, extensions, rulesWhile(fetchedBytes));
        if (front.liveBytes.length === 0) continue;
        isCut ||= front.liveBytes.length > width;
        next.push(thin(front, width, (live, timeMs) => timeMs + restMs(rest, live)));
      }
      if (isCut && stopsWhenCut) return { choices: undefined, isCut };
    }
    levels.push(next);
    fronts = next;
  }
  return { choices: best(problem, levels, budget), isCut };
}

const startOfChain: Front = {
  choice: 0,
  prefetchBytes: 0,
  liveBytes: [0],
  queuedBytes: [0],
  timeMs: [0],
  parentFront: [-1],
  parent: [-1],
};

/** How plans for the items before go on with choice `c` of item `i`, by the bytes that are fetched while it runs backward. */
function extensionsBy(
  { items, link }: PlanProblem,
  i: number,
  c: number,
  fronts: readonly Front[],
  budget: number,
  isTimeless: boolean,
): Map<number, Extension[]> {
  const [item, previous] = [items[i]!, items[i - 1]];
  const { forwardMs, backwardMs } = item.choices[c]!;
  const groups = new Map<number, Extension[]>();
  fronts.forEach((front, number) => {
    const before = front.choice;
    const fetchedBytes = previous?.choices[before]?.transferBytes ?? 0;
    const waitMs = Math.max(0, transferMs(link, fetchedBytes) - backwardMs);
    // Only now is the choice after the previous item known, on which its backward pass depends.
    const peakBehind = (previous?.backwardPeakBytes[before]?.[c] ?? 0) + liveBytesOf(link, front.prefetchBytes);
    const group = groups.get(fetchedBytes) ?? [];
    groups.set(fetchedBytes, group);
    group.push({
      front,
      number,
      keptBytes: item.keptBytes[before]![c]!,
      addedMs: isTimeless ? 0 : forwardMs + backwardMs + waitMs,
      mostLiveBytes: budget - peakBehind,
      mostBytes: budget - item.forwardPeakBytes[before]![c]!,
    });
  });
  return groups;
}

/** Of the whole chain's plans the one of least time, read back from its end. */
function best(
  { items, link }: PlanProblem,
  levels: readonly (readonly Front[])[],
  budget: number,
): readonly number[] | undefined {
  const last = items.at(-1)!;
  let found: { readonly front: number; readonly place: number; readonly timeMs: number } | undefined;
  levels.at(-1)!.forEach((front, f) => {
    const peak = last.backwardPeakBytes[front.choice]![0]! + liveBytesOf(link, front.prefetchBytes);
    const fetchMs = transferMs(link, last.choices[front.choice]!.transferBytes ?? 0);
    front.liveBytes.forEach((live, place) => {
      const timeMs = front.timeMs[place]! + fetchMs + transferMs(link, front.queuedBytes[place]!);
      if (live + peak <= budget && (found === undefined || timeMs < found.timeMs)) found = { front: f, place, timeMs };
    });
  });
  if (found === undefined) return undefined;
  const choices = new Array<number>(items.length);
  let { front: f, place } = found;
  for (let i = items.length - 1; i >= 0; i--) {
    const front = levels[i]![f]!;
    choices[i] = front.choice;
    [f, place] = [front.parentFront[place]!, front.parent[place]!];
  }
  return choices;
}
