import { CpuBackend } from "@revnet-zero/backend-cpu";
import { evaluatePlan, IntelligentMemoryScheduler, ModelPlanner, planChain } from "@revnet-zero/memory";
import { Engine } from "@revnet-zero/tensor";
import { collectGarbage } from "../memory.ts";
import { mean, median } from "../statistics.ts";
import { everywhere, greedyPlan, groupBySquareRoot, policiesOf } from "./baselines.ts";
import { type DiskTraffic, NotedDisk, offloadAllTo } from "./disk.ts";
import type { BenchModel, MakeModel } from "./models.ts";

/** A way to run the passes of a model, measured. */
export interface MeasuredPlan {
  readonly plan: string;
  /** undefined for baselines without a budget. */
  readonly budgetBytes: number | undefined;
  /** Highest live bytes in a pass. */
  readonly peakBytes: number;
  readonly activationBytes: number;
  /** Of forward and backward. */
  readonly timesMs: readonly number[];
  /** What the scheduler itself took for a step: planning and learning. */
  readonly planningMs: number;
}

/** A plan that goes to disk, and the one that keeps the same in memory, measured in turn. */
export interface MeasuredOnDisk {
  readonly moved: MeasuredPlan;
  readonly kept: MeasuredPlan;
  /** Of all passes. */
  readonly traffic: DiskTraffic;
}

export interface MeasuredModel {
  readonly plans: readonly MeasuredPlan[];
  readonly toDisk: readonly MeasuredOnDisk[];
  /** What the scheduler adds to a pass, in steps one after another under one budget. */
  readonly planningShare: number;
  /** Median error of expected block times, after 20 steps. */
  readonly medianError: number;
  readonly stepsOverBudget: number;
  readonly scheduledSteps: number;
  /** Of greedy plans, by the times that the scheduler has learned: time over the exact plan's, less one, for each budget. */
  readonly greedyRegrets: readonly number[];
}

interface Settings {
  readonly adaptSteps: number;
  readonly repeats: number;
  readonly isQuick: boolean;
}

/** Between the least peak and that of storing everything. */
const shares = [0, 0.2, 0.5];

export function measureModel(make: MakeModel, { adaptSteps, repeats, isQuick }: Settings): MeasuredModel {
  const engine = new Engine(new CpuBackend());
  const subject = make(engine, isQuick);
  const planner = new ModelPlanner(subject.model, subject.pass);

  const squareRoot = make(engine, isQuick);
  groupBySquareRoot(squareRoot.model);
  // Each model's bytes are measured with the other's parameters left out.
  const [ofSubject, ofSquareRoot] = [subject, squareRoot].map(({ model }) =>
    [...model.namedParameters().values(), ...model.namedBuffers().values()].reduce((sum, t) => sum + t.bytes, 0),
  ) as [number, number];
  const baselines: Way[] = [
    ...(["store", "checkpoint", "reconstruct"] as const).map((policy): Way => {
      const policies = everywhere(planner, policy);
      const plan = { store: "stored", checkpoint: "all checkpointed", reconstruct: "all rebuilt" }[policy];
      return {
        plan,
        budgetBytes: undefined,
        otherBytes: ofSquareRoot,
        run: plainly(engine, subject, () => planner.apply({ policies })),
      };
    }),
    {
      plan: "square-root checkpoints",
      budgetBytes: undefined,
      otherBytes: ofSubject,
      run: plainly(engine, squareRoot, () => {}),
    },
  ];
  const first = baselines.map((way) => way.run());
  const peaks = first.map((r, i) => r.peakBytes - baselines[i]!.otherBytes);
  const [stored, ...others] = peaks as [number, ...number[]];
  const least = planner.least.peakBytes + engine.ledger.liveBytes - ofSquareRoot;
  // Budgets where the baselines sit, and some between.
  const budgets = [
    ...new Set([...others.filter((p) => p >= least), ...shares.map((s) => Math.ceil(least + s * (stored - least)))]),
  ].sort((a, b) => a - b);

  using scheduler = new IntelligentMemoryScheduler(subject.model, { strategy: "ml-adaptive", file: false });
  const errors: number[] = [];
  let [stepsOverBudget, scheduledSteps] = [0, 0];
  const scheduled = (budget: number): Way => ({
    plan: "ml-adaptive",
    budgetBytes: budget,
    otherBytes: ofSquareRoot,
    run: () => {
      scheduler.setBudget(budget + ofSquareRoot);
      engine.ledger.resetPeak();
      const start = performance.now();
      scheduler.step(subject.pass);
      const wallMs = performance.now() - start;
      const { peakBytes, activationBytes } = engine.memory();
      subject.model.zeroGrad();
      const { timeMs, medianError } = scheduler.lastStep!;
      scheduledSteps++;
      if (peakBytes > budget + ofSquareRoot) stepsOverBudget++;
      if (scheduledSteps > 20) errors.push(medianError);
      return { timeMs, peakBytes, activationBytes, planningMs: wallMs - timeMs };
    },
  });
  const adaptive = budgets.map(scheduled);
  for (let i = 0; i < adaptSteps; i++) for (const way of adaptive) way.run();
  const learned = scheduler.planner!;
  const greedyRegrets: number[] = [];
  const greedy = budgets.map((budget): Way => {
    const problem = learned.times.expected();
    const room = budget + ofSquareRoot - engine.ledger.liveBytes;
    const choices = greedyPlan(problem, learned.least.plan.choices, room);
    const exact = planChain(problem, room);
    if (exact !== undefined) greedyRegrets.push(evaluatePlan(problem, choices).timeMs / exact.timeMs - 1);
    const policies = policiesOf(learned, choices);
    return {
      plan: "greedy",
      budgetBytes: budget,
      otherBytes: ofSquareRoot,
      run: plainly(engine, subject, () => learned.apply({ policies })),
    };
  });
  const ways = [...baselines, ...greedy, ...adaptive];
  const measured = inTurn(ways, repeats);
  // One budget step after step, as in training.
  const [, middle] = adaptive as [Way, Way];
  const steady = Array.from({ length: 2 * repeats }, () => middle.run());
  return {
    plans: measured,
    toDisk: measureDisk(engine, subject, baselines.slice(0, 2), { repeats, otherBytes: ofSquareRoot }),
    medianError: errors.length === 0 ? Number.NaN : median(errors),
    planningShare: mean(steady.map((r) => r.planningMs)) / median(steady.map((r) => r.timeMs)),
    stepsOverBudget,
    scheduledSteps,
    greedyRegrets,
  };
}

/**
 * All ways in turn, beginning with another one each time, so that neither a slow moment of the machine nor a place in the row is any one's own.
 * The second of two passes counts: what precedes the first (a scheduler that goes to another budget rehearses and plans) leaves work for the
 * garbage collector, and memory that is not in a cache.
 */
function inTurn(ways: readonly Way[], repeats: number): MeasuredPlan[] {
  const runs = ways.map((): Run[] => []);
  for (let i = 0; i < repeats; i++) {
    for (let k = 0; k < ways.length; k++) {
      const w = (5 * i + k) % ways.length;
      ways[w]!.run();
      collectGarbage();
      runs[w]!.push(ways[w]!.run());
    }
  }
  return ways.map(({ plan, budgetBytes, otherBytes }, w) => ({
    plan,
    budgetBytes,
    peakBytes: Math.max(...runs[w]!.map((r) => r.peakBytes)) - otherBytes,
    activationBytes: Math.max(...runs[w]!.map((r) => r.activationBytes)),
    timesMs: runs[w]!.map((r) => r.timeMs),
    planningMs: median(runs[w]!.map((r) => r.planningMs)),
  }));
}

interface Run {
  readonly timeMs: number;
  readonly peakBytes: number;
  readonly activationBytes: number;
  readonly planningMs: number;
}

interface Way {
  readonly plan: string;
  readonly budgetBytes: number | undefined;
  /** Bytes of the other model beside this one. */
  readonly otherBytes: number;
  readonly run: () => Run;
}

/**
 * Everything on disk: streams from which blocks are run again, or all that derivatives read; beside passes that keep them in memory. Apart from
 * all others: what was written goes on to the disk for a while.
 */
function measureDisk(
  engine: Engine,
  subject: BenchModel,
  inMemory: readonly Way[],
  { repeats, otherBytes }: { readonly repeats: number; readonly otherBytes: number },
): MeasuredOnDisk[] {
  const [stored, checkpointed] = inMemory as [Way, Way];
  const planner = new ModelPlanner(subject.model, subject.pass, { policies: ["checkpoint", "offload", "swap"] });
  return (["offload", "swap"] as const).map((policy): MeasuredOnDisk => {
    using disk = new NotedDisk();
    const policies = everywhere(planner, policy);
    const plan = policy === "swap" ? "swapped to disk" : "offloaded to disk";
    const run = plainly(engine, subject, () => {
      planner.apply({ policies });
      offloadAllTo(subject.model, disk);
    });
    // Starts its thread, and takes its memory.
    run();
    disk.forget();
    const ways = [policy === "swap" ? stored : checkpointed, { plan, budgetBytes: undefined, otherBytes, run }];
    const [kept, moved] = inTurn(ways, repeats) as [MeasuredPlan, MeasuredPlan];
    return { kept, moved, traffic: disk.traffic };
  });
}

const plainly =
  (engine: Engine, { model, pass }: BenchModel, prepare: () => void) =>
  (): Run => {
    prepare();
    engine.ledger.resetPeak();
    const start = performance.now();
    engine.scope(pass);
    const timeMs = performance.now() - start;
    const { peakBytes, activationBytes } = engine.memory();
    model.zeroGrad();
    return { timeMs, peakBytes, activationBytes, planningMs: 0 };
  };
