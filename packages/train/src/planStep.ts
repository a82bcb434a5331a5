import {
  type CostedPlan,
  ModelPlanner,
  measureTimes,
  type PlanProblem,
  paretoPlans,
  planChain,
  uniformPlan,
} from "@revnet-zero/memory";
import { type BlockPolicy, type MemoryPlan, type OffloadStore, policiesOf } from "@revnet-zero/reversible";
import { type Backend, Engine, OutOfMemoryError, ValueError } from "@revnet-zero/tensor";
import type { TrainConfig } from "./config.ts";
import { buildStep, estimateStep } from "./estimate.ts";

export interface PlanStepOptions {
  /** Bytes that the step's peak may have. Default: no limit, which gives the fastest plan. */
  readonly budgetBytes?: number | undefined;
  /** Where streams of offloaded blocks may go; without it no block is offloaded. */
  readonly offload?: OffloadStore | undefined;
}

/** What is done with one layer, and what that costs. */
export interface LayerPlan {
  readonly policy: BlockPolicy;
  /** Live bytes where its forward pass ends, less those where it began. */
  readonly addedBytes: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
}

export interface StepPlan {
  readonly plan: MemoryPlan;
  readonly layers: readonly LayerPlan[];
  /** Of the whole step, update included: the ledger's own number, to the byte. */
  readonly peakBytes: number;
  /** Of forward and backward, from passes measured here. */
  readonly timeMs: number;
  /** No plan within the budget takes less time, with these times of blocks. */
  readonly lowerBoundMs: number;
  readonly chosen: CostedPlan;
  /** The best trade-offs, from the smallest peak on. */
  readonly front: readonly CostedPlan[];
  readonly baselines: Readonly<Record<string, CostedPlan | undefined>>;
  /** Bytes live where a step begins, which `chosen` and the front do not count. */
  readonly startBytes: number;
  readonly problem: PlanProblem;
}

/**
 * The plan of least time for the trainer's step under a budget: bytes by rehearsal, times from passes that are run on the backend, the
 * choice by the exact planner. The result is held to the budget by an estimate of the whole step.
 *
 * @throws OutOfMemoryError where nothing fits, with the least budget that something does; ValueError in modes without plans.
 */
export function planStep(config: TrainConfig, backend: Backend, options: PlanStepOptions = {}): StepPlan {
  const { budgetBytes = Number.POSITIVE_INFINITY, offload } = options;
  const mode = config.model.reversibility;
  if (policiesOf(mode).length < 2) {
    throw new ValueError(
      "plan",
      `model.reversibility is ${mode}, which says by itself what is done with every layer`,
      "plan with --model.reversibility exact, which any plan gives the same bits as store",
    );
  }
  const leastEstimate = estimateStep(config, backend).peakBytes;
  const engine = new Engine(backend);
  const { model, optimizer, gradients, step } = buildStep(config, engine, { offload });
  try {
    // Makes the optimizer's state: from here on steps begin with the bytes that all later ones do.
    engine.scope(step);
    const startBytes = engine.ledger.liveBytes;
    const pass = (): void => {
      engine.scope(gradients);
      model.zeroGrad();
    };
    const policies = policiesOf(mode).filter((p) => offload !== undefined || (p !== "offload" && p !== "swap"));
    const planner = new ModelPlanner(model, pass, { policies });
    const limitBytes = Math.max(budgetBytes, leastEstimate);
    const problem = planner.problem(measureTimes(planner, { engine, pass, limitBytes }));
    return choose(config, backend, problem, { startBytes, budgetBytes, offload });
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

/** Attempts at a plan whose whole step, update included, is within the budget. */
const ATTEMPTS = 8;

function choose(
  config: TrainConfig,
  backend: Backend,
  problem: PlanProblem,
  { startBytes, budgetBytes, offload }: PlanStepOptions & { readonly startBytes: number; readonly budgetBytes: number },
): StepPlan {
  const front = paretoPlans(problem);
  let room = budgetBytes - startBytes;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const chosen = planChain(problem, room);
    if (chosen === undefined) break;
    const layers = layersOf(problem, chosen.choices);
    const plan: MemoryPlan = { blocks: layers.map(({ policy }) => policy) };
    const { peakBytes } = estimateStep(config, backend, { plan, offload });
    if (peakBytes > budgetBytes) {
      // What the pass alone does not show: the first step, a recording, the update.
      room = Math.min(room, chosen.peakBytes) - Math.max(1, peakBytes - budgetBytes);
      continue;
    }
    const baselines = {
      "all stored": uniformPlan(problem, "store"),
      "all checkpointed": uniformPlan(problem, "checkpoint"),
      "all rebuilt": uniformPlan(problem, "reconstruct"),
    };
    const { timeMs, lowerBoundMs } = chosen;
    return { plan, layers, peakBytes, timeMs, lowerBoundMs, chosen, front, baselines, startBytes, problem };
  }
  const least = layersOf(problem, front[0]!.choices).map(({ policy }) => policy);
  const { peakBytes } = estimateStep(config, backend, { plan: { blocks: least }, offload });
  throw new OutOfMemoryError(
    "plan",
    `no plan fits into ${budgetBytes} bytes: the smallest peak that was found is ${peakBytes} bytes`,
    "a smaller train.batchSize or train.sequenceLength needs less; `revnet-zero estimate` tells how much",
  );
}

function layersOf({ items }: PlanProblem, choices: readonly number[]): LayerPlan[] {
  return items.flatMap(({ choices: offered, keptBytes }, i) => {
    const { policy, forwardMs, backwardMs } = offered[choices[i]!]!;
    if (policy === "fixed") return [];
    // A transformer's blocks are reversible: none of them is in a row of ordinary ones.
    return [
      {
        policy: policy as BlockPolicy,
        addedBytes: keptBytes[choices[i - 1] ?? 0]![choices[i]!]!,
        forwardMs,
        backwardMs,
      },
    ];
  });
}
