import { type Arm, type ArmTable, armsOf } from "../costModel/arms.ts";
import type { ProbedItem } from "../costModel/probe.ts";
import { type ChoiceTimes, problemOf } from "../costModel/problemOf.ts";
import type { TimeModel } from "../costModel/timeModel.ts";
import { evaluatePlan } from "../planner/evaluate.ts";
import { leastPeakBytes, planChain } from "../planner/planChain.ts";
import type { Link, Plan, PlanProblem } from "../planner/problem.ts";

/** A plan is changed for one that is faster by more than this share: what times say beyond that is noise. */
const WORTH = 0.01;

/** The loop of a scheduler, without the steps: plans on what is believed, and is told what the planned passes took. */
export class OnlinePlanner {
  readonly items: readonly ProbedItem[];
  readonly leastPeakBytes: number;
  readonly #arms: ArmTable;
  readonly #times: TimeModel;
  readonly #link: () => Link | undefined;

  /** `link` is asked before every plan: what copies reach is known better as time goes on. */
  constructor(items: readonly ProbedItem[], times: TimeModel, link: () => Link | undefined = () => undefined) {
    this.items = items;
    this.#times = times;
    this.#link = link;
    this.#arms = armsOf(items);
    this.prepare();
    this.leastPeakBytes = leastPeakBytes(this.expected());
  }

  /** Has the time model look at these items again, where it has looked at others meanwhile. */
  prepare(): void {
    this.#times.prepare(this.#arms.flat(2));
  }

  /** The plan of least believed time within a budget (bytes beyond those where a step begins), where one fits. */
  plan(budgetBytes: number): Plan | undefined {
    return planChain(this.#atBest(), budgetBytes);
  }

  /** Whether a plan promises enough to be taken instead of the one in use. */
  isWorth({ choices }: Pick<Plan, "choices">, current: Pick<Plan, "choices">): boolean {
    const problem = this.#atBest();
    const [next, now] = [choices, current.choices].map((c) => evaluatePlan(problem, c).timeMs);
    return next! < now! * (1 - WORTH);
  }

  /** What a plan is expected to take. */
  expectedMs({ choices }: Pick<Plan, "choices">): number {
    return evaluatePlan(this.expected(), choices).timeMs;
  }

  /** The problem with expected times. */
  expected(): PlanProblem {
    return this.#problem((arm) => this.#times.expectedMs(arm));
  }

  observe({ choices }: Pick<Plan, "choices">, times: readonly ChoiceTimes[]): void {
    this.#times.observe(
      times.flatMap(({ forwardMs, backwardMs }, i) => {
        const [forward, backward] = this.#arms[i]![choices[i]!]!;
        return [
          { arm: forward, ms: forwardMs },
          { arm: backward, ms: backwardMs },
        ];
      }),
    );
  }

  #atBest(): PlanProblem {
    return this.#problem((arm) => this.#times.optimisticMs(arm));
  }

  #problem(msOf: (arm: Arm) => number): PlanProblem {
    const timesOf = (i: number, c: number): ChoiceTimes => {
      const [forward, backward] = this.#arms[i]![c]!;
      return { forwardMs: msOf(forward), backwardMs: msOf(backward) };
    };
    return problemOf(this.items, timesOf, this.#link());
  }
}
