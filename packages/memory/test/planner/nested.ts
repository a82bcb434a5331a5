import type { NestedPlan } from "@revnet-zero/reversible";
import fc from "fast-check";
import { expect } from "vitest";
import {
  evaluatePlan,
  leastPeakBytes,
  type NestedBlock,
  type NestedChoice,
  type NestedCost,
  nestedItem,
  nestedPlans,
  type PlanItem,
  type PlanProblem,
  planChain,
  type Table,
} from "../../src/index.ts";
import { allPlans, type InstanceOptions, instance, instances } from "./instances.ts";

/** Runs a nested plan block by block, with what is live at every moment: the planner's own arithmetic is not used. */
export function evaluateNested(blocks: readonly NestedBlock[], plan: NestedPlan): NestedCost {
  let [live, peakBytes, timeMs] = [0, 0, 0];
  const reach = (bytes: number): void => {
    peakBytes = Math.max(peakBytes, live + bytes);
  };
  /** Forward, recorded: gives the backward pass. `hasInput`: whoever runs this keeps the first block's input anyway. */
  const record = (entries: NestedPlan, first: number, hasInput: boolean): (() => void) => {
    const undo: (() => void)[] = [];
    let at = first;
    entries.forEach((entry, k) => {
      const from = at;
      if (entry === "store") {
        const block = blocks[at++]!;
        reach(block.forwardPeakBytes);
        timeMs += block.forwardMs;
        live += block.storedBytes;
        undo.push(() => {
          reach(block.backwardPeakBytes);
          timeMs += block.backwardMs;
          live -= block.storedBytes;
        });
        return;
      }
      const kept = k === 0 && hasInput ? 0 : blocks[from]!.inputBytes;
      live += kept;
      for (let left = count(entry); left > 0; left--) {
        reach(blocks[at]!.forwardPeakBytes);
        timeMs += blocks[at++]!.forwardMs;
      }
      undo.push(() => {
        record(entry, from, true)();
        live -= kept;
      });
    });
    return () => {
      for (const f of undo.reverse()) f();
    };
  };
  const backward = record(plan, 0, false);
  const keptBytes = live;
  backward();
  return { keptBytes, peakBytes, timeMs };
}

const count = (plan: NestedPlan): number => plan.reduce((n, e) => n + (e === "store" ? 1 : count(e)), 0);

/** Every nested plan for so many blocks; a segment that holds nothing but one segment is left out, and where `isInside` so is one of all blocks. */
export function allNestedPlans(numBlocks: number, isInside = false): NestedPlan[] {
  if (numBlocks === 0) return [[]];
  const found: NestedPlan[] = allNestedPlans(numBlocks - 1).map((rest) => ["store", ...rest]);
  for (let size = 1; size <= numBlocks - Number(isInside); size++)
    for (const inner of allNestedPlans(size, true))
      for (const rest of allNestedPlans(numBlocks - size)) found.push([inner, ...rest]);
  return found;
}

const blocks = (most: number): fc.Arbitrary<NestedBlock[]> => {
  const cost = fc.integer({ min: 0, max: 12 });
  return fc.array(
    fc.record({
      inputBytes: cost,
      storedBytes: cost,
      forwardMs: cost,
      backwardMs: cost,
      forwardPeakBytes: cost,
      backwardPeakBytes: cost,
    }),
    { minLength: 1, maxLength: most },
  );
};

const isNoBetter = (a: NestedCost, b: NestedCost): boolean =>
  a.keptBytes >= b.keptBytes && a.peakBytes >= b.peakBytes && a.timeMs >= b.timeMs;

/** The fronts are those of trying all plans, and each of their plans comes to what is said of it. */
export const nestedFrontIsExact = (most: number): fc.IPropertyWithHooks<[NestedBlock[]]> =>
  fc.property(blocks(most), (row) => {
    const found = nestedPlans(row);
    for (const { plan, ...cost } of found) expect(evaluateNested(row, plan)).toEqual(cost);
    for (const a of found) for (const b of found) expect(a !== b && isNoBetter(a, b)).toBe(false);
    for (const plan of allNestedPlans(row.length)) {
      const cost = evaluateNested(row, plan);
      if (!found.some((f) => isNoBetter(cost, f))) expect(plan).toBe("on the front");
    }
  });

/** Chains in which rows of ordinary blocks are items get the plan of trying all plans of all items. */
export const macroItemsAreExact = (
  most: number,
): fc.IPropertyWithHooks<[InstanceOptions, NestedBlock[], number, number]> =>
  fc.property(instances(4), blocks(most), fc.nat(), fc.nat(1000), (options, row, at, share) => {
    const { items } = instance({ ...options, hasTransfers: false });
    const place = at % (items.length + 1);
    const laterBytes = share % 7;
    const withRow = (choices: readonly NestedChoice[]): PlanProblem => {
      const [before, after] = [items[place - 1]?.choices.length ?? 1, items[place]?.choices.length ?? 1];
      const one = nestedItem("row", choices, { before, after, laterBytes });
      const rest = items.slice(place).map((item, k) => (k > 0 ? item : besideRow(item, choices.length)));
      const start = items.slice(0, place).map((item, k) => (k < place - 1 ? item : beforeRow(item, choices.length)));
      return { items: [...start, one, ...rest] };
    };
    const whole = withRow(allNestedPlans(row.length).map((plan) => ({ plan, ...evaluateNested(row, plan) })));
    const front = withRow(nestedPlans(row));
    const least = leastPeakBytes(front);
    expect(least).toBe(Math.min(...costsOf(whole).map((c) => c.peakBytes)));
    const budget = least + Math.floor((share / 1000) * least);
    const best = Math.min(
      ...costsOf(whole)
        .filter((c) => c.peakBytes <= budget)
        .map((c) => c.timeMs),
    );
    expect(planChain(front, budget)!.timeMs).toBe(best);
  });

const costsOf = (problem: PlanProblem) => [...allPlans(problem)].map((choices) => evaluatePlan(problem, choices));

/** The item after a row, and the one before it: the row's choices make no difference to them. */
const besideRow = (item: PlanItem, rowChoices: number): PlanItem => {
  const repeat = (table: Table): Table => Array.from({ length: rowChoices }, () => table[0]!);
  return { ...item, keptBytes: repeat(item.keptBytes), forwardPeakBytes: repeat(item.forwardPeakBytes) };
};
const beforeRow = (item: PlanItem, rowChoices: number): PlanItem => ({
  ...item,
  backwardPeakBytes: item.backwardPeakBytes.map((row) => new Array<number>(rowChoices).fill(row[0]!)),
});
