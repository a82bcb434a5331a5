import type { Module } from "@revnet-zero/nn";
import type { BlockObserver, BlockPolicy, MemoryPlan } from "@revnet-zero/reversible";
import { ValueError } from "@revnet-zero/tensor";

/** Blocks one after another, whose policies can be chosen: what a `ReversibleSequence` is, in modes that rebuild activations. */
export interface Plannable {
  readonly blocks: readonly unknown[];
  /** The policies a planner may choose from; one alone where there is nothing to choose. */
  readonly policies: readonly BlockPolicy[];
  /** And those that change gradients, if it is asked to. */
  readonly lossyPolicies?: readonly BlockPolicy[];
  plan: MemoryPlan | undefined;
  observer: BlockObserver | undefined;
  /** Set where `updateInBackward` updates parameters during the backward pass. */
  readonly backwardUpdate?: unknown;
}

/** A plannable part of a model. */
export interface PlannedChain {
  /** Path in the model. */
  readonly path: string;
  readonly numBlocks: number;
  readonly policies: readonly BlockPolicy[];
  readonly lossyPolicies: readonly BlockPolicy[];
  plan: MemoryPlan | undefined;
  observer: BlockObserver | undefined;
}

const isPlannable = (module: object): module is Plannable =>
  "policies" in module && "plan" in module && "observer" in module && "blocks" in module;

/** The parts of a model with a choice of policies, in the order of their paths. Parts of such a part are its own affair. */
export function chainsOf(model: Module): PlannedChain[] {
  const chains: PlannedChain[] = [];
  for (const [path, module] of model.namedModules()) {
    if (!isPlannable(module) || module.policies.length < 2) continue;
    if (chains.some((c) => c.path === "" || path.startsWith(`${c.path}.`))) continue;
    assertPure(path, module);
    chains.push(chainOf(path, module));
  }
  return chains;
}

/** A pass is run several times, some without values: it must not update anything. */
function assertPure(path: string, { backwardUpdate }: Plannable): void {
  if (backwardUpdate === undefined) return;
  throw new ValueError(
    "scheduler",
    `the backward pass of ${path || "the sequence"} updates its parameters (updateInBackward)`,
    "plan it with an ordinary optimizer step, or set its plan by hand",
  );
}

const chainOf = (path: string, module: Plannable): PlannedChain => ({
  path,
  numBlocks: module.blocks.length,
  policies: module.policies,
  lossyPolicies: module.lossyPolicies ?? [],
  get plan() {
    return module.plan;
  },
  set plan(plan) {
    module.plan = plan;
  },
  get observer() {
    return module.observer;
  },
  set observer(observer) {
    module.observer = observer;
  },
});

/** The name of a block: the path of its chain and its number. */
export const blockName = ({ path }: PlannedChain, block: number): string =>
  path === "" ? `blocks.${block}` : `${path}.blocks.${block}`;
