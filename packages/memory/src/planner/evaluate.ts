import { liveBytesOf, type PlanCost, type PlanProblem, queueAfter, transferMs } from "./problem.ts";

/** Runs a plan step by step, as the problem says it runs: the planner's own arithmetic is not used. */
export function evaluatePlan({ items, link }: PlanProblem, choices: readonly number[]): PlanCost {
  const choice = (i: number) => items[i]!.choices[choices[i]!]!;
  const transfer = (i: number): number => (i < 0 ? 0 : (choice(i).transferBytes ?? 0));
  const live = (bytes: number): number => liveBytesOf(link, bytes);
  let [liveBytes, peakBytes, timeMs, queuedBytes] = [0, 0, 0, 0];
  const endBytes: number[] = [];
  items.forEach((item, i) => {
    const [before, own] = [choices[i - 1] ?? 0, choices[i]!];
    peakBytes = Math.max(peakBytes, liveBytes + live(queuedBytes) + item.forwardPeakBytes[before]![own]!);
    liveBytes += item.keptBytes[before]![own]!;
    endBytes.push(liveBytes);
    const after = queueAfter(link, queuedBytes, choice(i).forwardMs, transfer(i));
    timeMs += choice(i).forwardMs + after.waitMs;
    queuedBytes = after.queuedBytes;
    peakBytes = Math.max(peakBytes, liveBytes + live(queuedBytes));
  });
  timeMs += transferMs(link, queuedBytes);
  for (let i = items.length - 1; i >= 0; i--) {
    const beside = items[i + 1] === undefined ? 0 : choice(i + 1).backwardMs;
    timeMs += Math.max(0, transferMs(link, transfer(i)) - beside) + choice(i).backwardMs;
    const highest = items[i]!.backwardPeakBytes[choices[i]!]![choices[i + 1] ?? 0]!;
    peakBytes = Math.max(peakBytes, endBytes[i]! + highest + live(transfer(i - 1)));
  }
  return { timeMs, peakBytes };
}
