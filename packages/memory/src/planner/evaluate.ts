import { drainedBytes, type PlanCost, type PlanProblem } from "./problem.ts";

/** Runs a plan step by step, as the problem says it runs: the planner's own arithmetic is not used. */
export function evaluatePlan({ items, transferBytesPerMs }: PlanProblem, choices: readonly number[]): PlanCost {
  const speed = transferBytesPerMs ?? Number.POSITIVE_INFINITY;
  const choice = (i: number) => items[i]!.choices[choices[i]!]!;
  const transfer = (i: number): number => (i < 0 ? 0 : (choice(i).transferBytes ?? 0));
  let [liveBytes, peakBytes, timeMs, queuedBytes] = [0, 0, 0, 0];
  const endBytes: number[] = [];
  items.forEach((item, i) => {
    const [before, own] = [choices[i - 1] ?? 0, choices[i]!];
    peakBytes = Math.max(peakBytes, liveBytes + queuedBytes + item.forwardPeakBytes[before]![own]!);
    liveBytes += item.keptBytes[before]![own]!;
    endBytes.push(liveBytes);
    timeMs += choice(i).forwardMs;
    queuedBytes = Math.max(0, queuedBytes - drainedBytes(transferBytesPerMs, choice(i).forwardMs)) + transfer(i);
    peakBytes = Math.max(peakBytes, liveBytes + queuedBytes);
  });
  if (queuedBytes > 0) timeMs += queuedBytes / speed;
  for (let i = items.length - 1; i >= 0; i--) {
    const beside = items[i + 1] === undefined ? 0 : choice(i + 1).backwardMs;
    timeMs += Math.max(0, transfer(i) / speed - beside) + choice(i).backwardMs;
    const highest = items[i]!.backwardPeakBytes[choices[i]!]![choices[i + 1] ?? 0]!;
    peakBytes = Math.max(peakBytes, endBytes[i]! + highest + transfer(i - 1));
  }
  return { timeMs, peakBytes };
}
