import { CpuBackend } from "@revnet-zero/backend-cpu";
import { evaluatePlan, IntelligentMemoryScheduler, ModelPlanner, planChain } from "@revnet-zero/memory";
import { Engine } from "@revnet-zero/tensor";
import { collectGarbage } from "../memory.ts";
import { median } from "../statistics.ts";
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
  /** What all passes of a plan that goes to disk moved. */
  readonly traffic: DiskTraffic | undefined;
}

export interface MeasuredModel {
  readonly plans: readonly MeasuredPlan[];
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
  const toDisk = waysToDisk(engine, subject, ofSquareRoot);
  for (const way of toDisk) {
    // Starts its thread, and takes its memory.
    way.run();
    way.disk.forget();
  }
  const ways = [...baselines, ...toDisk, ...greedy, ...adaptive];
  const runs = ways.map((): Run[] => []);
  // In turn, so that a slow moment of the machine hits all of them alike.
  for (let i = 0; i < repeats; i++) {
    for (const [w, way] of ways.entries()) {
      collectGarbage();
      runs[w]!.push(way.run());
    }
  }
  for (const { disk } of toDisk) disk.dispose();
  return {
    plans: ways.map(({ plan, budgetBytes, otherBytes, disk }, w) => ({
      plan,
      budgetBytes,
      traffic: disk?.traffic,
      peakBytes: Math.max(...runs[w]!.map((r) => r.peakBytes)) - otherBytes,
      activationBytes: Math.max(...runs[w]!.map((r) => r.activationBytes)),
      timesMs: runs[w]!.map((r) => r.timeMs),
      planningMs: median(runs[w]!.map((r) => r.planningMs)),
    })),
    medianError: errors.length === 0 ? Number.NaN : median(errors),
    stepsOverBudget,
    scheduledSteps,
    greedyRegrets,
  };
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
  readonly disk?: NotedDisk;
  readonly run: () => Run;
}

/** Everything on disk: streams from which blocks are run again, or all that derivatives read. */
function waysToDisk(engine: Engine, subject: BenchModel, otherBytes: number): (Way & Required<Pick<Way, "disk">>)[] {
  const planner = new ModelPlanner(subject.model, subject.pass, { policies: ["checkpoint", "offload", "swap"] });
  return Object.entries({ offloaded: "offload", swapped: "swap" } as const).map(([name, policy]) => {
    const disk = new NotedDisk();
    const policies = everywhere(planner, policy);
    const run = plainly(engine, subject, () => {
      planner.apply({ policies });
      offloadAllTo(subject.model, disk);
    });
    return { plan: `${name} to disk`, budgetBytes: undefined, otherBytes, disk, run };
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
