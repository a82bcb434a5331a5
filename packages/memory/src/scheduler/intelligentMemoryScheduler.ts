import type { Module } from "@revnet-zero/nn";
import { byteSizes, formatBytes, parseBytes } from "@revnet-zero/plot";
import type { BlockPolicy } from "@revnet-zero/reversible";
import { type Engine, OutOfMemoryError, type Tensor, ValueError } from "@revnet-zero/tensor";
import { chainsOf } from "../costModel/chains.ts";
import type { ChoiceTimes } from "../costModel/problemOf.ts";
import { StepRecorder } from "../costModel/stepRecorder.ts";
import type { TimeModel } from "../costModel/timeModel.ts";
import { TimeNetwork } from "../costModel/timeNetwork.ts";
import { readHostMemory, usualFile, writeHostMemory } from "./hostMemory.ts";
import type { LayerScheduler } from "./layerScheduler.ts";
import { type ModelPlan, ModelPlanner } from "./modelPlanner.ts";
import { type MemoryStrategy, strategies, strategyNames } from "./strategies.ts";

export interface MemorySchedulerOptions {
  /** Default "ml-adaptive". */
  readonly strategy?: MemoryStrategy;
  /** Bytes that the engine may hold in a pass, all included: a number, or a text such as "2GB". Default: no bound. */
  readonly budget?: number | string;
  readonly layers?: LayerScheduler;
  /** Policies to choose from. Default: store, checkpoint and reconstruct. */
  readonly policies?: readonly BlockPolicy[];
  /** Of the network's first parameters. Default 1. */
  readonly seed?: number;
  /** Where `ml-adaptive` keeps what it learned; false for nowhere. Default: a file for this machine and backend. */
  readonly file?: string | false;
  /** Milliseconds. Default: `performance.now`. The same readings give the same plans. */
  readonly clock?: () => number;
  /** Told in words when a plan had to be made smaller. Default: `console.warn`. */
  readonly onMessage?: (message: string) => void;
}

/** What a step under a scheduler came to. */
export interface ScheduledStep {
  readonly plan: ModelPlan;
  readonly timeMs: number;
  /** Highest live bytes of the engine in the pass. */
  readonly peakBytes: number;
  /** Median of |expected / measured - 1| over the blocks' forward and backward times, as expected before. */
  readonly medianError: number;
}

/** A plan that passes run under, with the planner that made it. */
interface PlanInUse {
  readonly planner: ModelPlanner;
  /** Live bytes where the pass begins, that the plan was made for. */
  startBytes: number;
  plan: ModelPlan;
  /** Steps since it was looked at, and steps until it is again. */
  age: number;
  patience: number;
}

/** A plan that is kept is next looked at after twice as many steps, up to so many. */
const MOST_PATIENCE = 8;
/** Budgets whose plans are kept, for whoever goes back and forth between some. */
const MOST_IN_USE = 32;
/** Times that were off by so much (a median) are a reason to plan anew. */
const SURPRISE = 0.5;
/** A step that went on within a thousandth of what was expected, in bytes, is one the plan was made for. */
const SAME_BYTES = 1e-3;

/**
 * Keeps the forward and backward passes of a model within a byte budget, at the least time that its strategy knows of. In exact modes
 * gradients are the same bits under every plan.
 *
 * The first pass is rehearsed (it computes nothing then) to learn what every policy keeps; every pass runs under a plan that was rehearsed,
 * and under a limit of the ledger. Where memory runs out all the same (other shapes than before, a device that has less), the pass is
 * taken back, and done again under a smaller plan, with a message.
 *
 * ```ts
 * import { IntelligentMemoryScheduler, randomKey, ReversibleTransformer, zeros } from "revnet-zero";
 *
 * const shape = { vocabSize: 16, numLayers: 4, dModel: 8, numHeads: 2, maxSeqLen: 4 };
 * const model = new ReversibleTransformer({ ...shape, key: randomKey(1) });
 * const tokens = zeros([2, 4], { dtype: "i32" });
 * using scheduler = new IntelligentMemoryScheduler(model, { strategy: "conservative", budget: "1MB" });
 * const loss = scheduler.step(() => {
 *   const loss = model.loss(tokens, tokens);
 *   loss.backward();
 *   return loss.detach();
 * });
 * loss.itemSync() > 0; // => true
 * scheduler.lastStep.peakBytes < 1e6; // => true
 * ```
 */
export class IntelligentMemoryScheduler {
  readonly strategy: MemoryStrategy;
  #budgetBytes: number;
  readonly #model: Module;
  readonly #engine: Engine;
  readonly #options: MemorySchedulerOptions;
  readonly #giveBackPlans: readonly (() => void)[];
  readonly #network: TimeNetwork | undefined;
  readonly #times: TimeModel;
  readonly #file: string | undefined;
  /** By whether gradients were there before: a micro-batch after the first has more bytes live from the start. */
  readonly #planners = new Map<boolean, ModelPlanner>();
  /** By the same, and the budget. */
  readonly #plansInUse = new Map<string, PlanInUse>();
  #lastStep: ScheduledStep | undefined;

  constructor(model: Module, options: MemorySchedulerOptions = {}) {
    const { strategy = "ml-adaptive", budget = Number.POSITIVE_INFINITY, seed = 1, file } = options;
    if (!strategyNames.includes(strategy)) {
      throw new ValueError("scheduler", `unknown strategy "${strategy}"`, `use ${strategyNames.join(", ")}`);
    }
    this.strategy = strategy;
    this.#budgetBytes = bytesOf(budget);
    this.#model = model;
    this.#engine = model.engine;
    this.#options = options;
    this.#giveBackPlans = chainsOf(model).map((c) => c.remember());
    const { usesNetwork, times } = strategies[strategy];
    this.#network = usesNetwork ? new TimeNetwork({ engine: this.#engine, seed }) : undefined;
    this.#times = times(this.#network);
    this.#file = usesNetwork && file !== false ? (file ?? usualFile(this.#engine.backend.name)) : undefined;
    const known = this.#file === undefined ? undefined : readHostMemory(this.#file);
    if (known !== undefined) this.#network!.load(known);
  }

  /**
   * Runs a forward and a backward pass within the budget, in a scope of its own: of what it makes, its result lives on. It may be run
   * several times, and without values, so that it must not read any (`item()`), and what advances (the next batch) and updates (the
   * optimizer's step) stays outside.
   *
   * @throws OutOfMemoryError where not even the smallest plan fits, with the least budget that would do.
   */
  step<T>(pass: () => T): T {
    const hadGradients = this.#gradients().some((g) => g !== undefined);
    const inUse = this.#prepared(pass, hadGradients);
    try {
      return this.#run(pass, inUse);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      if (hadGradients) throw error;
      return this.#runSmaller(pass, hadGradients, error);
    }
  }

  /** Bytes that the engine may hold in a pass. */
  get budgetBytes(): number {
    return this.#budgetBytes;
  }
  /** Takes effect at the next step; a number, or a text such as "2GB". */
  setBudget(budget: number | string): void {
    this.#budgetBytes = bytesOf(budget);
  }

  /** The plan of the last step. */
  get plan(): ModelPlan | undefined {
    return this.#lastStep?.plan;
  }
  get lastStep(): ScheduledStep | undefined {
    return this.#lastStep;
  }

  /** What plans the passes, and what it has learned: of passes without gradients from before, once there was one. */
  get planner(): ModelPlanner | undefined {
    return this.#planners.get(false) ?? this.#planners.get(true);
  }

  /** Saves what was learned, and gives the model the plans back that it had. */
  [Symbol.dispose](): void {
    for (const giveBack of this.#giveBackPlans) giveBack();
    if (this.#network === undefined) return;
    try {
      if (this.#file !== undefined && this.#lastStep !== undefined) writeHostMemory(this.#file, this.#network.save());
    } catch (error) {
      this.#say(`what was learned could not be saved: ${(error as Error).message}`);
    }
    this.#network.dispose();
  }

  /** The plan for a pass: the one in use, where it is not time to look at it again, or no other is worth a change. */
  #prepared(pass: () => unknown, hadGradients: boolean): PlanInUse {
    const startBytes = this.#engine.ledger.liveBytes;
    const known = this.#plansInUse.get(`${hadGradients} ${this.#budgetBytes}`);
    const isSame = known?.startBytes === startBytes;
    if (isSame && known.age < known.patience) return known;
    const planner = this.#planners.get(hadGradients) ?? this.#plannerOf(pass, hadGradients);
    planner.times.prepare();
    const plan = this.#planFor(planner, startBytes, isSame ? known.plan : undefined);
    const isKept = isSame && plan.policies.join() === known.plan.policies.join();
    const patience = isKept ? Math.min(2 * known.patience, MOST_PATIENCE) : 1;
    return this.#use(hadGradients, { planner, startBytes, plan, age: 0, patience });
  }

  #plannerOf(pass: () => unknown, hadGradients: boolean): ModelPlanner {
    const { layers, policies } = this.#options;
    const times = this.#times;
    const planner = new ModelPlanner(this.#model, () => void pass(), { layers, policies, times });
    this.#planners.set(hadGradients, planner);
    return planner;
  }

  #use(hadGradients: boolean, inUse: PlanInUse): PlanInUse {
    if (this.#plansInUse.size >= MOST_IN_USE) this.#plansInUse.clear();
    this.#plansInUse.set(`${hadGradients} ${this.#budgetBytes}`, inUse);
    return inUse;
  }

  #planFor(planner: ModelPlanner, startBytes: number, current?: ModelPlan): ModelPlan {
    const { share } = strategies[this.strategy];
    const whole = Number.isFinite(this.#budgetBytes) ? this.#budgetBytes : planner.most.peakBytes + startBytes;
    if (share === 1) return planner.planWithin(whole, { startBytes, current });
    const least = planner.least.peakBytes + startBytes;
    const budget = least > whole ? whole : Math.floor(least + share * (whole - least));
    return planner.planWithin(budget, { startBytes, current });
  }

  #run<T>(pass: () => T, inUse: PlanInUse): T {
    const { planner, plan, startBytes } = inUse;
    planner.apply(plan);
    const { clock = planner.links.clock() } = this.#options;
    let result: T | undefined;
    const waitsMs = planner.links.waitsMs();
    const record = this.#engine.withMemoryLimit(this.#budgetBytes, () =>
      new StepRecorder(this.#engine, planner.chains).record(
        () => {
          result = this.#engine.scope(pass, "scheduled pass");
        },
        { clock },
      ),
    );
    const { peakBytes } = record;
    const timeMs = record.timeMs + planner.links.waitsMs() - waitsMs;
    const passes = record.items.map(({ forward, backward }) => ({
      forwardMs: forward.timeMs,
      backwardMs: backward?.timeMs ?? 0,
    }));
    const error = medianError(planner, plan, passes);
    this.#lastStep = { plan, timeMs, peakBytes, medianError: error };
    inUse.age++;
    if (error > SURPRISE) inUse.patience = 1;
    const isAsExpected =
      record.items.length === planner.times.items.length &&
      Math.abs(peakBytes - startBytes - plan.peakBytes) <= SAME_BYTES * plan.peakBytes;
    if (isAsExpected) planner.times.observe(plan.plan, passes);
    else this.#forget();
    return result as T;
  }

  /**
   * The pass ran out of memory: its gradients are taken back, it is looked at anew, and done again under the plan that is best now; and where
   * that has just failed (it is the device that has less than the budget), or does, under the smallest one.
   */
  #runSmaller<T>(pass: () => T, hadGradients: boolean, error: OutOfMemoryError): T {
    this.#takeBack();
    const inUse = this.#prepared(pass, hadGradients);
    const { planner, plan, startBytes } = inUse;
    let failure = error;
    for (const next of [plan, planner.least]) {
      if (isFollowed(planner, next)) continue;
      const peak = formatBytes(next.peakBytes + startBytes);
      this.#say(`memory ran out (${firstLine(failure)}); the pass is done again under a plan with a peak of ${peak}`);
      try {
        inUse.plan = next;
        return this.#run(pass, inUse);
      } catch (again) {
        if (!(again instanceof OutOfMemoryError)) throw again;
        failure = again;
        this.#takeBack();
      }
    }
    throw failure;
  }

  #takeBack(): void {
    this.#model.zeroGrad();
    this.#engine.backend.releaseCaches?.();
    this.#forget();
  }

  /** What was rehearsed is of another pass: the next one is looked at anew. */
  #forget(): void {
    this.#planners.clear();
    this.#plansInUse.clear();
  }

  #gradients(): readonly (Tensor | undefined)[] {
    return this.#model.parameters().map((p) => p.grad);
  }

  #say(message: string): void {
    const { onMessage = (text) => console.warn(text) } = this.#options;
    onMessage(`memory scheduler: ${message}`);
  }
}

/** Whether the last pass ran under this plan. */
const isFollowed = ({ chains }: ModelPlanner, { policies }: ModelPlan): boolean =>
  chains.every(({ current }, i) => current?.join() === policies[i]!.join());

const firstLine = ({ message }: Error): string => message.split("\n")[0]!;

function medianError({ times }: ModelPlanner, { plan }: ModelPlan, passes: readonly ChoiceTimes[]): number {
  const { items } = times.expected();
  const errors = times.items.flatMap(({ place }, i) => {
    const measured = passes[i];
    if (place === undefined || measured === undefined) return [];
    const expected = items[i]!.choices[plan.choices[i]!]!;
    return [expected.forwardMs / measured.forwardMs, expected.backwardMs / measured.backwardMs].map((r) =>
      Math.abs(r - 1),
    );
  });
  return errors.sort((a, b) => a - b)[errors.length >> 1] ?? Number.NaN;
}

function bytesOf(budget: number | string): number {
  const bytes = typeof budget === "string" ? parseBytes(budget) : budget;
  if (bytes !== undefined && bytes > 0) return bytes;
  throw new ValueError(
    "scheduler",
    `the budget is ${JSON.stringify(budget)}`,
    `use a number of bytes, or ${byteSizes}`,
  );
}
