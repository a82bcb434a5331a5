import { type BlockPolicy, offloadingPolicies } from "@revnet-zero/reversible";
import { ValueError } from "@revnet-zero/tensor";
import { type ChainPolicy, FIXED, type PlanItem } from "../planner/problem.ts";
import { blockName, type PlannedChain } from "./chains.ts";
import { pairSequence } from "./pairSequence.ts";
import type { Pass, Rehearsal } from "./rehearse.ts";
import type { ItemRecord, Work } from "./stepRecorder.ts";

/** What is known of an item before it has been run: bytes to the byte, and what it computes. */
export interface ProbedItem extends Pick<PlanItem, "name" | "keptBytes" | "forwardPeakBytes" | "backwardPeakBytes"> {
  /** The block, or undefined for what lies between. */
  readonly place: { readonly chain: number; readonly block: number } | undefined;
  readonly choices: readonly ProbedChoice[];
}

export interface ProbedChoice {
  readonly policy: ChainPolicy | typeof FIXED;
  readonly forward: Work;
  readonly backward: Work;
  /** Bytes that go to the offload store. */
  readonly transferBytes?: number;
}

/** Policies that may be chosen for a block. */
export type Offers = (chain: number, block: number) => readonly ChainPolicy[];

/**
 * Rehearses a pass until every two policies have met on every two neighbouring blocks, and reads the tables off: with n policies, n² runs, or as
 * many as a row of blocks has policies.
 * A chain that runs twice in the pass has one plan for both runs, which a chain of items cannot say: an error.
 */
export function probe(rehearsal: Rehearsal, pass: Pass, chains: readonly PlannedChain[], offers: Offers): ProbedItem[] {
  const offered = chains.map((chain, c) => Array.from({ length: chain.numBlocks }, (_, b) => offers(c, b)));
  const mostOf = (isRow: boolean): number =>
    Math.max(1, ...offered.flatMap((blocks, c) => (chains[c]!.isRow === isRow ? blocks.map((o) => o.length) : [])));
  const sequence = pairSequence(mostOf(false));
  const runs = Array.from({ length: Math.max(sequence.length, mostOf(true)) }, (_, run) => {
    let at = run;
    // Item by item through all chains, so that neighbours are neighbours in the sequence. Blocks offered less repeat some. What lies beside
    // a row has no choice: there it is enough that each of a row's policies comes once.
    const next = (o: readonly ChainPolicy[]): ChainPolicy => o[sequence[at++ % sequence.length]! % o.length]!;
    const plan = offered.map((blocks, c) => blocks.map((o) => (chains[c]!.isRow ? o[run % o.length]! : next(o))));
    return { plan, record: rehearsal.run(pass, plan, { countsWork: true }) };
  });
  const items = runs[0]!.record.items.map((item) => described(item, chains, offered));
  assertOnce(items, chains);
  const tables = items.map((item, i) =>
    tablesOf(item.policies.length, items[i - 1]?.policies.length ?? 1, items[i + 1]?.policies.length ?? 1),
  );
  const works = items.map((item) => item.policies.map((): { forward: Work; backward: Work } | undefined => undefined));
  const transfers = items.map((item) => item.policies.map(() => 0));
  for (const { plan, record } of runs) {
    const chosen = items.map(({ place, policies }) =>
      place === undefined ? 0 : policies.indexOf(plan[place.chain]![place.block]!),
    );
    // What items keep is read off where the backward pass comes to them: in the forward pass there are bytes that only pass by.
    let keptBefore = record.startBytes;
    record.items.forEach(({ forward, backward }, i) => {
      const [before, own, after] = [chosen[i - 1] ?? 0, chosen[i]!, chosen[i + 1] ?? 0];
      const keptAfter = backward?.keptBytes ?? keptBefore;
      tables[i]!.kept[before]![own] = keptAfter - keptBefore;
      tables[i]!.forward[before]![own] = forward.peakBytes - keptBefore;
      tables[i]!.backward[own]![after] = (backward?.peakBytes ?? keptAfter) - keptAfter;
      keptBefore = keptAfter;
      works[i]![own] = { forward: forward.work, backward: backward?.work ?? noWork };
      // A rebuilt block before an offloaded one puts its streams away for it: then there are none in its own pass.
      transfers[i]![own] = Math.max(transfers[i]![own]!, forward.offloadedBytes);
    });
  }
  return items.map(({ name, place, policies }, i) => ({
    name,
    place,
    choices: policies.map((policy, c) => ({
      policy,
      ...works[i]![c]!,
      ...(offloads(policy) ? { transferBytes: transfers[i]![c]! } : {}),
    })),
    keptBytes: tables[i]!.kept,
    forwardPeakBytes: tables[i]!.forward,
    backwardPeakBytes: tables[i]!.backward,
  }));
}

const offloads = (policy: string): boolean => offloadingPolicies.includes(policy as BlockPolicy);

const noWork: Work = { flops: 0, bytes: 0, ops: 0 };

function described(
  { chain, block }: ItemRecord,
  chains: readonly PlannedChain[],
  offered: readonly (readonly (readonly ChainPolicy[])[])[],
) {
  if (chain === undefined) return { name: "between", place: undefined, policies: [FIXED] as const };
  const c = chains.indexOf(chain);
  return { name: blockName(chain, block), place: { chain: c, block }, policies: offered[c]![block]! };
}

function assertOnce(
  items: readonly { readonly name: string; readonly place: unknown }[],
  chains: readonly PlannedChain[],
): void {
  const names = items.flatMap(({ name, place }) => (place === undefined ? [] : [name]));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new ValueError(
      "scheduler",
      `${twice} runs more than once in a pass, and has one policy for all its runs`,
      "give the scheduler one forward and backward pass at a time, or make two sequences that share their branches",
    );
  }
  const missing = chains.find((c) => !names.includes(blockName(c, 0)));
  if (missing === undefined) return;
  throw new ValueError(
    "scheduler",
    `${missing.path || "the sequence"} was not part of the recorded pass`,
    "run the whole model in the function given to the scheduler, with gradients on",
  );
}

interface Tables {
  readonly kept: number[][];
  readonly forward: number[][];
  readonly backward: number[][];
}

const tablesOf = (own: number, before: number, after: number): Tables => ({
  kept: empty(before, own),
  forward: empty(before, own),
  backward: empty(own, after),
});

const empty = (rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => new Array<number>(columns).fill(Number.NaN));
