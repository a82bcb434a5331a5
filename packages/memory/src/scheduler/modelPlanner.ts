import type { Module } from "@revnet-zero/nn";
import { formatBytes } from "@revnet-zero/plot";
import type { BlockPolicy } from "@revnet-zero/reversible";
import { OutOfMemoryError, ValueError } from "@revnet-zero/tensor";
import { blockName, chainsOf, type PlannedChain } from "../costModel/chains.ts";
import { Links } from "../costModel/links.ts";
import { type ProbedItem, probe } from "../costModel/probe.ts";
import { type ChoiceTimes, problemOf } from "../costModel/problemOf.ts";
import { type Pass, Rehearsal } from "../costModel/rehearse.ts";
import { canBeRow, rowPolicies } from "../costModel/rows.ts";
import type { StepRecord } from "../costModel/stepRecorder.ts";
import { staticTimes, type TimeModel } from "../costModel/timeModel.ts";
import { type ChainPolicy, FIXED, type Plan, type PlanProblem } from "../planner/problem.ts";
import type { LayerScheduler } from "./layerScheduler.ts";
import { OnlinePlanner } from "./onlinePlanner.ts";

export interface ModelPlannerOptions {
  /** Layers whose policy is given. */
  readonly layers?: LayerScheduler | undefined;
  /**
   * Policies to choose from. Default: store, checkpoint and reconstruct. Where `offload` and `swap` copy to is the sequence's store, whose speed
   * is measured where it copies beside the computation; `store8` keeps 8 bits a number, and changes gradients.
   */
  readonly policies?: readonly BlockPolicy[] | undefined;
  /** What passes take. Default: by operations and bytes. */
  readonly times?: TimeModel | undefined;
}

export interface PlanWithinOptions {
  /** Bytes of the budget that are live before the pass. Default 0. */
  readonly startBytes?: number | undefined;
  /** The plan in use; see `plan`. */
  readonly current?: ModelPlan | undefined;
}

/** A policy for every block of a model, and what it comes to. */
export interface ModelPlan {
  readonly layers: readonly PlannedLayer[];
  /** Expected time of a forward and a backward pass. */
  readonly timeMs: number;
  /** Highest live bytes beyond those where the pass begins: the ledger's, from a rehearsal of this plan. */
  readonly peakBytes: number;
  /** [chain][block], as the model's parts with blocks are ordered; a row of ordinary blocks is one. */
  readonly policies: readonly (readonly ChainPolicy[])[];
  /** @internal */
  readonly plan: Plan;
}

export interface PlannedLayer {
  readonly name: string;
  readonly policy: ChainPolicy;
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Bytes that it keeps from its forward to its backward pass. */
  readonly keptBytes: number;
}

const usualPolicies: readonly BlockPolicy[] = ["store", "checkpoint", "reconstruct"];
/** Plans that are rehearsed until one fits for which the tables had promised too much. */
const CORRECTIONS = 4;
/** A share of the budget that is not worth another rehearsal. */
const NEGLIGIBLE = 0.01;

/** The policies to choose from that the blocks of a chain can have. */
function offered(
  { path, policies, lossyPolicies }: PlannedChain,
  wanted: readonly ChainPolicy[],
): readonly ChainPolicy[] {
  const can = [...policies, ...lossyPolicies];
  const found = can.filter((p) => wanted.includes(p));
  if (found.length > 0) return found;
  throw new ValueError(
    "scheduler",
    `the blocks of ${path || "the sequence"} can have none of the policies ${wanted.join(", ")}`,
    `add one of ${can.join(", ")}`,
  );
}

const offloads = (items: readonly ProbedItem[], chain: number): boolean =>
  items.some(({ place, choices }) => place?.chain === chain && choices.some((c) => (c.transferBytes ?? 0) > 0));

/**
 * Plans a forward and backward pass of a model: rehearses it, which computes nothing, until the bytes of every policy are known, and finds
 * the fastest plan within a budget. What it says of a plan's peak was rehearsed with that plan.
 */
export class ModelPlanner {
  readonly #chains: readonly PlannedChain[];
  readonly #rehearsal: Rehearsal;
  readonly #pass: Pass;
  readonly #planner: OnlinePlanner;
  /** What copies go over that are made beside a pass, and what was waited for them. */
  readonly links: Links;
  #least: ModelPlan | undefined;
  /** By budget: by how much the tables were off for the plan rehearsed last. */
  readonly #off = new Map<number, number>();
  /** Rehearsed peaks by choices. */
  readonly #peaks = new Map<string, number>();

  constructor(
    model: Module,
    pass: Pass,
    { layers, policies = usualPolicies, times = staticTimes }: ModelPlannerOptions = {},
  ) {
    const chains = chainsOf(model);
    if (chains.length === 0) {
      throw new ValueError(
        "scheduler",
        `${model.constructor.name} has no blocks whose policy could be chosen`,
        'use a reversible model in a mode that rebuilds activations: reversibility "exact"',
      );
    }
    this.#pass = pass;
    const choicesOf = (chain: PlannedChain): (readonly ChainPolicy[])[] =>
      Array.from({ length: chain.numBlocks }, (_, b) => {
        const pinned = layers?.pinned(blockName(chain, b));
        return pinned === undefined ? offered(chain, chain.isRow ? chain.policies : policies) : [pinned];
      });
    const probed = (all: readonly PlannedChain[]): [Rehearsal, ProbedItem[]] => {
      const rehearsal = new Rehearsal(model.engine, all, model.parameters());
      const choices = all.map(choicesOf);
      return [rehearsal, probe(rehearsal, pass, all, (c, b) => choices[c]![b]!)];
    };
    const [first, items] = probed(chains);
    // Ordinary blocks that may be run again together are one item, with the nested plans that may pay.
    const withRows = chains.map((chain, c) =>
      canBeRow(chain, choicesOf(chain)) ? chain.asRow!(rowPolicies(items, c)) : chain,
    );
    this.#chains = withRows;
    const isSame = withRows.every((chain, c) => chain === chains[c]);
    const [rehearsal, all] = isSame ? [first, items] : probed(withRows);
    this.#rehearsal = rehearsal;
    this.links = new Links(
      model.engine,
      withRows.filter((_, c) => offloads(all, c)),
    );
    this.#planner = new OnlinePlanner(all, times, () => this.links.forPlans());
  }

  /** What is planned, with given times. */
  problem(timesOf: (item: number, choice: number) => ChoiceTimes): PlanProblem {
    return problemOf(this.#planner.items, timesOf, this.links.forPlans());
  }

  /** The parts of the model that it plans. */
  get chains(): readonly PlannedChain[] {
    return this.#chains;
  }

  /** What is believed, and learned, of the times of the items. */
  get times(): OnlinePlanner {
    return this.#planner;
  }

  /** The plan with the least peak that was found. */
  get least(): ModelPlan {
    this.#least ??= this.#leastOf();
    return this.#least;
  }

  /** The plan that keeps as much as any policy does, and so computes least. */
  get most(): ModelPlan {
    return this.#rehearsed(this.#planner.plan(Number.POSITIVE_INFINITY)!);
  }

  /**
   * The fastest plan found whose rehearsed peak is within a budget of bytes beyond those where the pass begins; or undefined. A `current` plan
   * that fits stays unless another is faster by more than a hundredth: then nothing is rehearsed.
   */
  plan(budgetBytes: number, current?: ModelPlan): ModelPlan | undefined {
    // Tables go by neighbours; some bytes depend on more. What they were off by is taken into account, in either direction.
    let allowed = budgetBytes - (this.#off.get(budgetBytes) ?? 0);
    let best: ModelPlan | undefined;
    const seen = new Set<string>();
    for (let i = 0; i < CORRECTIONS; i++) {
      const plan = this.#planner.plan(allowed) ?? (i === 0 ? this.#planner.plan(budgetBytes) : undefined);
      if (plan === undefined || seen.has(plan.choices.join())) break;
      if (current !== undefined && current.peakBytes <= budgetBytes && !this.#planner.isWorth(plan, current.plan))
        return this.#rehearsed(current.plan);
      seen.add(plan.choices.join());
      const found = this.#rehearsed(plan);
      const fits = found.peakBytes <= budgetBytes;
      if (fits && (best === undefined || found.timeMs < best.timeMs)) best = found;
      const off = found.peakBytes - plan.peakBytes;
      const unused = budgetBytes - off - allowed;
      if (fits && unused <= NEGLIGIBLE * budgetBytes) break;
      this.#off.set(budgetBytes, off);
      allowed = budgetBytes - off;
    }
    if (best !== undefined) return best;
    return this.least.peakBytes <= budgetBytes ? this.least : undefined;
  }

  /** Like `plan`, with an error that says what is needed where no plan fits. */
  planWithin(budgetBytes: number, { startBytes = 0, current }: PlanWithinOptions = {}): ModelPlan {
    const found = this.plan(budgetBytes - startBytes, current);
    if (found !== undefined) return found;
    const needed = this.least.peakBytes + startBytes;
    throw new OutOfMemoryError(
      "scheduler",
      `no plan fits into ${formatBytes(budgetBytes)}: the least peak that was found is ${formatBytes(needed)} (${needed} bytes), of which ${formatBytes(startBytes)} are there before the pass`,
      `raise the budget to ${needed} bytes, make batch or sequence smaller, or unpin layers`,
    );
  }

  /** Plans from the least peak to the one that keeps most, each faster than those with less: time against peak. */
  curve(points = 12): ModelPlan[] {
    const [low, high] = [this.least.peakBytes, this.most.peakBytes];
    const budgets = Array.from({ length: points }, (_, i) => low + ((high - low) * i) / Math.max(1, points - 1));
    const plans: ModelPlan[] = [];
    for (const budget of budgets) {
      const found = this.plan(Math.ceil(budget));
      if (found !== undefined && (plans.length === 0 || found.timeMs < plans.at(-1)!.timeMs)) plans.push(found);
    }
    return plans;
  }

  /** Sets the plan of every part of the model. */
  apply({ policies }: Pick<ModelPlan, "policies">): void {
    this.#chains.forEach((chain, i) => {
      chain.follow(policies[i]!);
    });
  }

  /** The pass under a plan, without computing. */
  rehearse({ policies }: Pick<ModelPlan, "policies">): StepRecord {
    return this.#rehearsal.run(this.#pass, policies);
  }

  #leastOf(): ModelPlan {
    const planned = this.#rehearsed(this.#planner.plan(this.#planner.leastPeakBytes)!);
    // Where the tables are off by a little, what keeps nothing may need less.
    const { items } = this.#planner;
    const rebuilding = items.map(({ choices }) =>
      Math.max(
        0,
        choices.findIndex(({ policy }) => policy === "reconstruct"),
      ),
    );
    const other = this.#rehearsed({ choices: rebuilding, timeMs: 0, peakBytes: 0, lowerBoundMs: 0 });
    return other.peakBytes < planned.peakBytes ? other : planned;
  }

  #rehearsed(plan: Plan): ModelPlan {
    const { items } = this.#planner;
    const { items: costs } = this.#planner.expected();
    const policies: ChainPolicy[][] = this.#chains.map(() => []);
    const layers: PlannedLayer[] = [];
    items.forEach(({ name, place, choices }, i) => {
      const own = plan.choices[i]!;
      const { policy } = choices[own]!;
      if (place === undefined || policy === FIXED) return;
      policies[place.chain]![place.block] = policy;
      const { forwardMs, backwardMs } = costs[i]!.choices[own]!;
      layers.push({
        name,
        policy,
        forwardMs,
        backwardMs,
        keptBytes: costs[i]!.keptBytes[plan.choices[i - 1] ?? 0]![own]!,
      });
    });
    const key = plan.choices.join();
    const peakBytes = this.#peaks.get(key) ?? this.#peakOf(policies);
    this.#peaks.set(key, peakBytes);
    return { layers, policies, plan, timeMs: this.#planner.expectedMs(plan), peakBytes };
  }

  #peakOf(policies: readonly (readonly ChainPolicy[])[]): number {
    const { peakBytes, startBytes } = this.#rehearsal.run(this.#pass, policies);
    return peakBytes - startBytes;
  }
}
