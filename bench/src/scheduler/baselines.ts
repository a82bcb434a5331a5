import { evaluatePlan, type ModelPlan, type ModelPlanner, type PlanProblem } from "@revnet-zero/memory";
import type { Module } from "@revnet-zero/nn";
import {
  type BlockPolicy,
  BlockSequence,
  type CoupledBlock,
  couplingOf,
  type ReversibleBlock,
  ReversibleSequence,
} from "@revnet-zero/reversible";

/** One policy for all blocks; those that cannot have it are run again from their input. */
export const everywhere = (planner: ModelPlanner, policy: BlockPolicy): BlockPolicy[][] => {
  const policies: BlockPolicy[][] = [];
  for (const { place, choices } of planner.times.items) {
    if (place === undefined) continue;
    policies[place.chain] ??= [];
    policies[place.chain]![place.block] = choices.some((c) => c.policy === policy) ? policy : "checkpoint";
  }
  return policies;
};

/**
 * Square-root checkpointing (Chen et al. 2016, arXiv:1604.06174): runs of about sqrt(L) blocks as one, each keeping its input and run
 * again as a whole. Takes the place of the model's sequences; ordinary blocks are run again one by one.
 */
export function groupBySquareRoot(model: Module): void {
  for (const module of [...model.namedModules().values()]) {
    for (const [field, value] of Object.entries(module)) {
      if (value instanceof BlockSequence) value.plan = { blocks: value.blocks.map(() => "checkpoint") };
      if (value instanceof ReversibleSequence) Object.assign(module, { [field]: grouped(value) });
      if (Array.isArray(value) && value[0] instanceof ReversibleSequence)
        Object.assign(module, { [field]: value.map(grouped) });
    }
  }
}

function grouped(sequence: ReversibleSequence): ReversibleSequence {
  const size = Math.round(Math.sqrt(sequence.blocks.length));
  const blocks: (CoupledBlock & { readonly parts: readonly ReversibleBlock[] })[] = [];
  for (let i = 0; i < sequence.blocks.length; i += size) {
    // The parts are named so that the modules in them are found.
    const parts = sequence.blocks.slice(i, i + size);
    const couplings = parts.map(couplingOf);
    const program = couplings.flatMap((c) => c.program);
    blocks.push({ coupling: "group", streams: couplings[0]!.streams, program, parts });
  }
  const { fractionBits, range } = sequence;
  const plan = { blocks: blocks.map((): BlockPolicy => "checkpoint") };
  return new ReversibleSequence({ blocks, fractionBits, plan, engine: range.engine });
}

/** From the plan that keeps least, what saves most time for a byte, as long as it fits; by the same tables and expected times. */
export function greedyPlan(problem: PlanProblem, start: readonly number[], budget: number): readonly number[] {
  const choices = [...start];
  for (;;) {
    const now = evaluatePlan(problem, choices);
    let best: { readonly gain: number; readonly item: number; readonly choice: number } | undefined;
    problem.items.forEach((item, i) => {
      item.choices.forEach((_, c) => {
        if (c === choices[i]) return;
        const changed = choices.with(i, c);
        const cost = evaluatePlan(problem, changed);
        const saved = now.timeMs - cost.timeMs;
        if (saved <= 0 || cost.peakBytes > budget) return;
        const kept = item.keptBytes[choices[i - 1] ?? 0]!;
        const gain = saved / Math.max(1, kept[c]! - kept[choices[i]!]!);
        if (best === undefined || gain > best.gain) best = { gain, item: i, choice: c };
      });
    });
    if (best === undefined) return choices;
    choices[best.item] = best.choice;
  }
}

/** A planner's items' choices as policies for the chains. */
export function policiesOf(planner: ModelPlanner, choices: readonly number[]): ModelPlan["policies"] {
  const policies: BlockPolicy[][] = [];
  planner.times.items.forEach(({ place, choices: all }, i) => {
    if (place === undefined) return;
    policies[place.chain] ??= [];
    policies[place.chain]![place.block] = all[choices[i]!]!.policy as BlockPolicy;
  });
  return policies;
}
