import type { BlockPolicy } from "@revnet-zero/reversible";
import { priorMs } from "../costModel/priorTimes.ts";
import type { ProbedChoice, ProbedItem } from "../costModel/probe.ts";
import type { ChoiceTimes } from "../costModel/problemOf.ts";
import type { Work } from "../costModel/stepRecorder.ts";
import { staticTimes } from "../costModel/timeModel.ts";
import { evaluatePlan } from "../planner/evaluate.ts";
import { OnlinePlanner } from "../scheduler/onlinePlanner.ts";
import type { Simulation } from "./simulate.ts";

export interface SimulatedChainOptions {
  readonly seed: number;
  /** Default 24. */
  readonly blocks?: number;
  readonly steps: number;
  /** How far the prior is off, for every pass by itself: a standard deviation of logarithms. Default 0.4. */
  readonly priorDeviation?: number;
  /** Of measurements. Default 0.05. */
  readonly noiseDeviation?: number;
  /** From this step on, half of all passes cost twice as much. Default never. */
  readonly changeAt?: number;
}

const policies = ["store", "checkpoint", "reconstruct"] as const satisfies readonly BlockPolicy[];

/** A chain of unlike blocks, a fifth of which cannot be rebuilt, with a budget between what it needs at least and at most. */
export function simulatedChain({
  seed,
  blocks = 24,
  steps,
  priorDeviation = 0.4,
  noiseDeviation = 0.05,
  changeAt = Number.POSITIVE_INFINITY,
}: SimulatedChainOptions): Simulation {
  const { uniform, normal } = generator(seed);
  const items: ProbedItem[] = [];
  const truth: ChoiceTimes[][] = [];
  const changed: boolean[][] = [];
  const choicesOf: (readonly BlockPolicy[])[] = Array.from({ length: blocks }, () =>
    uniform() < 0.2 ? policies.slice(0, 2) : policies,
  );
  for (let i = 0; i < blocks; i++) {
    const streams = Math.round(1e6 * (1 + 3 * uniform()));
    const inner = Math.round(streams * (3 + 9 * uniform()));
    const gradients = Math.round(1e5 * (blocks - i));
    const flops = 1e8 * (1 + 5 * uniform());
    const choices = choicesOf[i]!.map((policy): ProbedChoice => {
      const [runs, bytes] = [policy === "store" ? 2 : 3, policy === "reconstruct" ? 4 : 3];
      return { policy, forward: work(flops, inner), backward: work(runs * flops, bytes * inner) };
    });
    const kept = { store: inner, checkpoint: streams, reconstruct: 0 } as const;
    const own = choicesOf[i]!.map((p) => kept[p as keyof typeof kept]);
    const before = choicesOf[i - 1] ?? ["store"];
    const after = choicesOf[i + 1] ?? ["store"];
    items.push({
      name: `blocks.${i}`,
      place: { chain: 0, block: i },
      choices,
      keptBytes: before.map((b) =>
        own.map((bytes, c) => bytes + (b === "reconstruct" && choicesOf[i]![c] === "store" ? streams : 0)),
      ),
      forwardPeakBytes: before.map(() => own.map(() => inner + streams)),
      backwardPeakBytes: own.map((bytes) => after.map(() => inner + 3 * streams + gradients - bytes)),
    });
    const forwardRate = Math.exp(priorDeviation * normal());
    truth.push(
      choices.map(({ forward, backward }) => ({
        forwardMs: forwardRate * priorMs(forward),
        backwardMs: Math.exp(priorDeviation * normal()) * priorMs(backward),
      })),
    );
    changed.push(choices.map(() => uniform() < 0.5));
  }
  const planner = new OnlinePlanner(items, staticTimes);
  const most = evaluatePlan(
    planner.expected(),
    items.map(() => 0),
  ).peakBytes;
  const budgetBytes = Math.round(planner.leastPeakBytes + (0.1 + 0.6 * uniform()) * (most - planner.leastPeakBytes));
  return {
    items,
    budgetBytes,
    steps,
    noise: () => Math.exp(noiseDeviation * normal()),
    trueTimes: (step, i, c) => {
      const { forwardMs, backwardMs } = truth[i]![c]!;
      return { forwardMs, backwardMs: step >= changeAt && changed[i]![c]! ? 2 * backwardMs : backwardMs };
    },
  };
}

const work = (flops: number, bytes: number): Work => ({ flops: Math.round(flops), bytes: Math.round(bytes), ops: 30 });

/** Numbers of a seed: uniform in [0, 1), and normal. Source: Steele, Lea and Flood 2014, SplitMix; Box and Muller 1958. */
function generator(seed: number): { uniform: () => number; normal: () => number } {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}
