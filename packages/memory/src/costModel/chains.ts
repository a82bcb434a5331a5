import type { Module } from "@revnet-zero/nn";
import type { BlockObserver, BlockPolicy, MemoryPlan, NestedPlan, OffloadStore } from "@revnet-zero/reversible";
import { ValueError } from "@revnet-zero/tensor";
import type { ChainPolicy } from "../planner/problem.ts";

/** Blocks one after another, whose policies can be chosen: what a `ReversibleSequence` is, in modes that rebuild activations. */
export interface Plannable {
  readonly blocks: readonly unknown[];
  /** The policies a planner may choose from; one alone where there is nothing to choose. */
  readonly policies: readonly BlockPolicy[];
  /** And those that change gradients, if it is asked to. */
  readonly lossyPolicies?: readonly BlockPolicy[];
  plan: MemoryPlan | undefined;
  /** Blocks that can be run again together have them, in the place of a plan. */
  segments?: NestedPlan | undefined;
  observer: BlockObserver | undefined;
  /** Where it puts what it offloads, if it can. */
  offload?: OffloadStore;
  /** Set where `updateInBackward` updates parameters during the backward pass. */
  readonly backwardUpdate?: unknown;
}

/** A plannable part of a model: blocks with a policy each, or a row of them that is one block here. */
export interface PlannedChain {
  /** Path in the model. */
  readonly path: string;
  readonly numBlocks: number;
  readonly policies: readonly ChainPolicy[];
  readonly lossyPolicies: readonly BlockPolicy[];
  readonly isRow: boolean;
  /** The policies it follows; undefined where none were set. */
  readonly current: readonly ChainPolicy[] | undefined;
  /** Has it follow policies, one a block. */
  follow(policies: readonly ChainPolicy[]): void;
  /** Gives it back, when called, what it follows now. */
  remember(): () => void;
  observer: BlockObserver | undefined;
  /** Undefined where nothing of it can be offloaded. */
  offload: OffloadStore | undefined;
  /** The same blocks as a row, where they can be run again together. */
  readonly asRow: ((policies: readonly ChainPolicy[]) => PlannedChain) | undefined;
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

const remembered = (module: Plannable) => (): (() => void) => {
  const { plan, segments } = module;
  return () => {
    module.plan = plan;
    if (segments !== undefined) module.segments = segments;
  };
};

const chainOf = (path: string, module: Plannable): PlannedChain => ({
  path,
  numBlocks: module.blocks.length,
  policies: module.policies,
  lossyPolicies: module.lossyPolicies ?? [],
  isRow: false,
  get current() {
    return module.plan?.blocks;
  },
  follow: (policies) => {
    module.plan = { blocks: policies as readonly BlockPolicy[] };
  },
  remember: remembered(module),
  get observer() {
    return module.observer;
  },
  set observer(observer) {
    module.observer = observer;
  },
  get offload() {
    return module.offload;
  },
  set offload(store) {
    if (store !== undefined) module.offload = store;
  },
  asRow: "segments" in module ? (policies) => rowOf(path, module, policies) : undefined,
});

const SEGMENTS = "segments ";

/** A nested plan as a policy: by the names there are for one, where all blocks have the same. */
export function rowPolicy(plan: NestedPlan): ChainPolicy {
  if (plan.every((entry) => entry === "store")) return "store";
  if (plan.every((entry) => entry.length === 1 && entry[0] === "store")) return "checkpoint";
  return `${SEGMENTS}${JSON.stringify(plan)}`;
}

function rowOf(path: string, module: Plannable, policies: readonly ChainPolicy[]): PlannedChain {
  const { length } = module.blocks;
  let told: BlockObserver | undefined;
  return {
    path,
    numBlocks: 1,
    policies,
    lossyPolicies: [],
    isRow: true,
    get current() {
      const { plan, segments } = module;
      if (segments !== undefined) return [rowPolicy(segments)];
      const [first] = plan?.blocks ?? [];
      return plan?.blocks.every((p) => p === first) ? [first!] : undefined;
    },
    follow: ([policy]) => {
      if (policy!.startsWith(SEGMENTS)) module.segments = JSON.parse(policy!.slice(SEGMENTS.length));
      else module.plan = { blocks: new Array<BlockPolicy>(length).fill(policy as BlockPolicy) };
    },
    remember: remembered(module),
    get observer() {
      return told;
    },
    set observer(observer) {
      told = observer;
      module.observer = observer && {
        // Of its blocks the first alone, and its end.
        forward: (block) => {
          if (block === 0 || block === length) observer.forward(block === 0 ? 0 : 1);
        },
        backward: () => {},
      };
    },
    offload: undefined,
    asRow: undefined,
  };
}

/** The name of a block: the path of its chain and its number; a row's is its path. */
export function blockName({ path, isRow }: PlannedChain, block: number): string {
  if (isRow) return path === "" ? "blocks" : path;
  return path === "" ? `blocks.${block}` : `${path}.blocks.${block}`;
}
