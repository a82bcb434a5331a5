import type { Engine } from "@revnet-zero/tensor";
import { type ArmTable, armsOf } from "../costModel/arms.ts";
import type { ChoiceTimes } from "../costModel/problemOf.ts";
import type { Pass } from "../costModel/rehearse.ts";
import { StepRecorder } from "../costModel/stepRecorder.ts";
import type { ChainPolicy } from "../planner/problem.ts";
import type { ModelPlanner } from "../scheduler/modelPlanner.ts";

export interface MeasureOptions {
  readonly engine: Engine;
  readonly pass: Pass;
  /** No pass whose peak would be higher is run. */
  readonly limitBytes: number;
  /** Passes that are timed under each policy, after one that is not. Default 4. */
  readonly repeats?: number;
}

/**
 * Times of every choice of every item of a planner, from passes that are run: under each policy a pass with all blocks under it or, where that
 * would not fit, every second, fourth, … one. Policies take turns, so that a slow moment is one of them all. The best of the repeats counts, and
 * for items of equal work the median of theirs. What was not run gets the time that its work would take at the speed of the rest.
 */
export function measureTimes(
  planner: ModelPlanner,
  options: MeasureOptions,
): (item: number, choice: number) => ChoiceTimes {
  const { engine, pass, limitBytes, repeats = 4 } = options;
  const before = planner.chains.map((c) => c.remember());
  const best = new Map<string, number>();
  const policies = new Set(planner.times.items.flatMap(({ choices }) => choices.map((c) => c.policy)));
  const plans = [...policies].flatMap((policy) => planThatFits(planner, policy, limitBytes) ?? []);
  try {
    for (const plan of plans) {
      planner.apply({ policies: plan });
      engine.scope(pass);
    }
    for (let round = 0; round < repeats; round++) {
      for (const plan of plans) {
        planner.apply({ policies: plan });
        timePass(planner, plan, options, best);
      }
    }
  } finally {
    for (const giveBack of before) giveBack();
  }
  return timesFrom(armsOf(planner.times.items), best);
}

type ChainPlans = readonly (readonly ChainPolicy[])[];

/** The policy on as many blocks as the limit allows, and the cheapest one in bytes elsewhere; undefined where no block is offered it. */
function planThatFits(planner: ModelPlanner, policy: string, limitBytes: number): [ChainPlans] | undefined {
  const { chains } = planner;
  const offered = (chain: number, block: number): readonly ChainPolicy[] =>
    planner.times.items.flatMap(({ place, choices }) =>
      place?.chain === chain && place.block === block ? choices.map((c) => c.policy as ChainPolicy) : [],
    );
  const most = Math.max(...chains.map((c) => c.numBlocks));
  for (let stride = 1; stride <= most; stride *= 2) {
    const plan = chains.map(({ numBlocks }, c) =>
      Array.from({ length: numBlocks }, (_, block): ChainPolicy => {
        const policies = offered(c, block);
        const wanted = block % stride === 0 ? policies.find((p) => p === policy) : undefined;
        return wanted ?? policies.find((p) => p === "reconstruct") ?? policies.at(-1)!;
      }),
    );
    if (!plan.flat().some((p) => p === policy)) return undefined;
    if (planner.rehearse({ policies: plan }).peakBytes <= limitBytes) return [plan];
  }
  return undefined;
}

const keyOf = (item: number, choice: number, pass: "forward" | "backward"): string => `${item} ${choice} ${pass}`;

/** Runs the pass under the plan that the planner has applied, and notes the best time of every item's choice. */
function timePass(
  planner: ModelPlanner,
  plan: ChainPlans,
  { engine, pass }: MeasureOptions,
  best: Map<string, number>,
): void {
  const { chains, times } = planner;
  const { items } = times;
  const { items: found } = new StepRecorder(engine, chains).record(() => engine.scope(pass), {
    clock: planner.links.clock(),
  });
  found.forEach(({ forward, backward }, i) => {
    const { place, choices } = items[i]!;
    const policy = place === undefined ? choices[0]!.policy : plan[place.chain]![place.block]!;
    const choice = choices.findIndex((c) => c.policy === policy);
    const note = (name: "forward" | "backward", ms: number): void => {
      const key = keyOf(i, choice, name);
      best.set(key, Math.min(ms, best.get(key) ?? Number.POSITIVE_INFINITY));
    };
    note("forward", forward.timeMs);
    note("backward", backward?.timeMs ?? 0);
  });
}

/** Medians by kind of work; for kinds that were not run, the prior at the speed of what was. */
function timesFrom(arms: ArmTable, best: ReadonlyMap<string, number>): (item: number, choice: number) => ChoiceTimes {
  const kinds = new Map<string, number[]>();
  let [measured, prior] = [0, 0];
  for (const arm of arms.flat(2)) {
    const ms = best.get(keyOf(arm.item, arm.choice, arm.pass));
    if (ms === undefined) continue;
    measured += ms;
    prior += arm.priorMs;
    const list = kinds.get(arm.kind);
    if (list === undefined) kinds.set(arm.kind, [ms]);
    else list.push(ms);
  }
  const speed = prior > 0 ? measured / prior : 1;
  const medians = new Map([...kinds].map(([kind, times]) => [kind, times.sort((a, b) => a - b)[times.length >> 1]!]));
  return (item, choice) => {
    const [forward, backward] = arms[item]![choice]!;
    return {
      forwardMs: medians.get(forward.kind) ?? forward.priorMs * speed,
      backwardMs: medians.get(backward.kind) ?? backward.priorMs * speed,
    };
  };
}
