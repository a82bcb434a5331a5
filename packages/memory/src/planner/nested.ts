import type { NestedPlan } from "@revnet-zero/reversible";
import { FIXED, type PlanItem } from "./problem.ts";

/** What a block in a row of ordinary ones costs, run by itself or again. */
export interface NestedBlock {
  /** Its input: kept where a segment begins with this block. */
  readonly inputBytes: number;
  /** What it keeps for its backward pass where it is stored. */
  readonly storedBytes: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Highest bytes while it runs forward, beyond what the blocks before it keep. */
  readonly forwardPeakBytes: number;
  /** Highest bytes in its backward pass, beyond what is kept with its own. */
  readonly backwardPeakBytes: number;
}

/** What a nested plan comes to. */
export interface NestedCost {
  /** Between its forward and its backward pass. */
  readonly keptBytes: number;
  /** Highest bytes of both passes, of everything. */
  readonly peakBytes: number;
  /** Of both, with all that is run again. */
  readonly timeMs: number;
}

export interface NestedChoice extends NestedCost {
  readonly plan: NestedPlan;
}

/**
 * All nested plans of a row of blocks that no other beats in bytes kept, peak and time. Dynamic program over stretches of blocks: a plan begins with
 * a stored block, or with a segment, of which only peak and time matter once it is run again; the rest is a plan of the rest. Source: Beaumont et
 * al. 2019 (rotor), theorem 1; we differ: fronts of three costs instead of a table over memory slots, so that a whole row can be one item of a
 * longer chain.
 *
 * `width`: plans kept for a stretch, evenly spread where there are more; without a bound on them the front is exact.
 */
export function nestedPlans(blocks: readonly NestedBlock[], width: number = Number.POSITIVE_INFINITY): NestedChoice[] {
  const known = new Map<string, NestedChoice[]>();
  const remembered = (key: string, f: () => NestedChoice[]): NestedChoice[] => {
    const found = known.get(key) ?? thinned(undominated(f()), width);
    known.set(key, found);
    return found;
  };
  /** Plans for blocks [from, to) whose first entry is no segment of all of them: running that again would change nothing. */
  const inside = (from: number, to: number): NestedChoice[] =>
    remembered(`inside ${from} ${to}`, () => beginning(from, to, true));
  const all = (from: number, to: number): NestedChoice[] =>
    from === to ? [nothing] : remembered(`all ${from} ${to}`, () => beginning(from, to, false));
  const beginning = (from: number, to: number, isInputKept: boolean): NestedChoice[] => {
    const found: NestedChoice[] = [];
    for (const rest of all(from + 1, to)) found.push(joined(stored(blocks[from]!), rest));
    for (let end = from + 1; end <= to; end++) {
      if (isInputKept && end === to) continue;
      for (const inner of inside(from, end)) {
        const one = segment(blocks.slice(from, end), inner, isInputKept);
        for (const rest of all(end, to)) found.push(joined(one, rest));
      }
    }
    return found;
  };
  return all(0, blocks.length);
}

/**
 * A row of blocks as one item of a chain, with a choice for each of its plans. `before` and `after`: how many choices its neighbours have, on which
 * it does not depend. `laterBytes`: live in its backward pass and not before (gradients of later items).
 */
export function nestedItem(
  name: string,
  choices: readonly NestedChoice[],
  {
    before = 1,
    after = 1,
    laterBytes = 0,
  }: { readonly before?: number; readonly after?: number; readonly laterBytes?: number } = {},
): PlanItem {
  const rows = <T>(count: number, row: readonly T[]): (readonly T[])[] => Array.from({ length: count }, () => row);
  const peaks = choices.map((c) => c.peakBytes);
  return {
    name,
    choices: choices.map(({ timeMs }) => ({ policy: FIXED, forwardMs: 0, backwardMs: timeMs })),
    keptBytes: rows(
      before,
      choices.map((c) => c.keptBytes),
    ),
    forwardPeakBytes: rows(before, peaks),
    // Above what is kept with its own.
    backwardPeakBytes: choices.map((c) => new Array<number>(after).fill(c.peakBytes - c.keptBytes + laterBytes)),
  };
}

const nothing: NestedChoice = { plan: [], keptBytes: 0, peakBytes: 0, timeMs: 0 };

const stored = (block: NestedBlock): NestedChoice => ({
  plan: ["store"],
  keptBytes: block.storedBytes,
  peakBytes: Math.max(block.forwardPeakBytes, block.storedBytes + block.backwardPeakBytes),
  timeMs: block.forwardMs + block.backwardMs,
});

/** Run forward once without being kept, then as `inner` says. In a segment that begins with the same block its input is there already. */
function segment(blocks: readonly NestedBlock[], inner: NestedChoice, isInputKept: boolean): NestedChoice {
  const keptBytes = isInputKept ? 0 : blocks[0]!.inputBytes;
  return {
    plan: [inner.plan],
    keptBytes,
    peakBytes: keptBytes + Math.max(inner.peakBytes, ...blocks.map((b) => b.forwardPeakBytes)),
    timeMs: blocks.reduce((sum, b) => sum + b.forwardMs, 0) + inner.timeMs,
  };
}

const joined = (one: NestedChoice, rest: NestedChoice): NestedChoice => ({
  plan: [...one.plan, ...rest.plan],
  keptBytes: one.keptBytes + rest.keptBytes,
  peakBytes: Math.max(one.peakBytes, one.keptBytes + rest.peakBytes),
  timeMs: one.timeMs + rest.timeMs,
});

/** Without those that another is no worse than in all three; of equals the first. Ascending in time. */
function undominated(choices: readonly NestedChoice[]): NestedChoice[] {
  const order = [...choices].sort(
    (a, b) => a.timeMs - b.timeMs || a.peakBytes - b.peakBytes || a.keptBytes - b.keptBytes,
  );
  const kept: NestedChoice[] = [];
  for (const c of order) if (!kept.some((k) => k.peakBytes <= c.peakBytes && k.keptBytes <= c.keptBytes)) kept.push(c);
  return kept;
}

function thinned(choices: readonly NestedChoice[], most: number): NestedChoice[] {
  if (choices.length <= most) return [...choices];
  const last = choices.length - 1;
  return Array.from({ length: most }, (_, i) => choices[Math.round((i * last) / (most - 1))]!);
}
