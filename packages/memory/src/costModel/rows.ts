import { type NestedBlock, nestedPlans, thinned } from "../planner/nested.ts";
import type { ChainPolicy } from "../planner/problem.ts";
import { type PlannedChain, rowPolicy } from "./chains.ts";
import { priorMs } from "./priorTimes.ts";
import type { ProbedItem } from "./probe.ts";

/** Nested plans of a row that are offered besides storing all blocks and running each again by itself. */
const MOST_PLANS = 14;
/** Plans kept for a stretch of blocks while they are looked for. */
const WIDTH = 32;

/**
 * The nested plans that may pay for a chain's blocks as one row, as policies, by what each block was seen to keep and to need. What a plan
 * really needs is then found by a rehearsal.
 */
export function rowPolicies(items: readonly ProbedItem[], chain: number): readonly ChainPolicy[] {
  const blocks = items.filter(({ place }) => place?.chain === chain).map(costOf);
  const found = thinned(nestedPlans(blocks, WIDTH), MOST_PLANS);
  return [...new Set<ChainPolicy>(["store", "checkpoint", ...found.map(({ plan }) => rowPolicy(plan))])];
}

/** A block between others that are run again, or stored, like itself. */
function costOf({ choices, keptBytes, forwardPeakBytes, backwardPeakBytes }: ProbedItem): NestedBlock {
  const [store, checkpoint] = ["store", "checkpoint"].map((p) => choices.findIndex((c) => c.policy === p)) as [
    number,
    number,
  ];
  // What has no choice before or after it has a table of one row.
  const at = (table: readonly (readonly number[])[], i: number): readonly number[] =>
    table[Math.min(i, table.length - 1)]!;
  const after = backwardPeakBytes[store]!;
  return {
    inputBytes: Math.max(0, at(keptBytes, checkpoint)[checkpoint]!),
    storedBytes: Math.max(0, at(keptBytes, store)[store]!),
    forwardMs: priorMs(choices[store]!.forward),
    backwardMs: priorMs(choices[store]!.backward),
    forwardPeakBytes: at(forwardPeakBytes, store)[store]!,
    backwardPeakBytes: Math.max(0, after[Math.min(store, after.length - 1)]!),
  };
}

/** Whether all blocks of a chain are to be run as one row. */
export const canBeRow = (chain: PlannedChain, offered: readonly (readonly ChainPolicy[])[]): boolean =>
  chain.asRow !== undefined &&
  offered.length > 1 &&
  offered.every((o) => o.includes("store") && o.includes("checkpoint"));
