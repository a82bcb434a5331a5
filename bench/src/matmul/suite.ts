import { availableParallelism } from "node:os";
import { median, timeColumns } from "../statistics.ts";
import type { Row, Suite } from "../suite.ts";
import { Contest, ratio, taskPeers } from "../tasks/contest.ts";
import { amountOf, type ProductShape } from "../tasks/task.ts";

const square = (size: number, transA = false, transB = false, batch = 1): ProductShape => ({
  ...{ batch, m: size, k: size, n: size, transA, transB },
});

const fullShapes: readonly ProductShape[] = [
  ...[256, 512, 1024, 2048].map((size) => square(size)),
  ...[256, 512, 1024, 2048].flatMap((size) => [
    square(size, false, true),
    square(size, true),
    square(size, true, true),
  ]),
  square(256, false, false, 16),
];

/** Float32 matrix products, plain, transposed and batched, on one thread and on all. */
export const matmul: Suite = {
  about: "float32 matrix products against the machine's measured peak, and against JavaScript libraries and PyTorch",
  run: async ({ isQuick, peers, log }) => {
    const shapes = isQuick ? [square(64), square(64, true, true, 2)] : fullShapes;
    const repeats = isQuick ? 2 : 11;
    const counts = isQuick ? [1] : [...new Set([1, availableParallelism()])];
    const rows: Row[] = [];
    const summary: Record<string, unknown> = {};
    const ourTimes = new Map<string, number>();
    for (const threads of counts) {
      using contest = await Contest.start(threads, peers);
      const ratios = new Map<string, number[]>();
      const shares: number[] = [];
      const allPeaks: number[] = [];
      for (const product of shapes) {
        const task = { op: "matmul", product } as const;
        const name = nameOf(product);
        const { times: measured, peaks } = await contest.measure(task, { repeats, isQuick, withPeak: true });
        const [ours, amount] = [measured.get("revnet-zero")!, amountOf(task)];
        allPeaks.push(...peaks);
        for (const [impl, times] of measured) {
          const { timeMs, ...time } = timeColumns(times);
          const gflops = amount / timeMs / 1e6;
          // Pairs: each run against what the units did at that moment.
          const shareOfPeak = peaks.length === 0 ? null : median(times.map((t, i) => (amount * 1000) / t / peaks[i]!));
          if (impl !== "revnet-zero") ratios.set(impl, [...(ratios.get(impl) ?? []), ratio(times, ours)]);
          else if (shareOfPeak !== null) shares.push(shareOfPeak);
          const tier = impl === "revnet-zero" ? contest.tier : null;
          rows.push({ impl, tier, ...product, threads, gflops, shareOfPeak, timeMs, ...time });
          log(`  ${name}, ${threads} threads, ${impl}: ${gflops.toFixed(1)} GFLOP/s`);
        }
        ourTimes.set(`${name} ${threads}`, median(ours));
      }
      rows.push(...contest.skipped);
      summary[`${threads} threads`] = {
        peakGflops: allPeaks.length === 0 ? null : median(allPeaks) / 1e9,
        shareOfPeak: shares.length === 0 ? null : spread(shares),
        ...Object.fromEntries([...ratios].map(([impl, all]) => [`speedOver ${impl}`, spread(all)])),
      };
    }
    const most = counts.at(-1)!;
    if (most > 1)
      summary[`speedUp, ${most} threads over 1`] = spread(
        shapes.map(nameOf).map((name) => ourTimes.get(`${name} 1`)! / ourTimes.get(`${name} ${most}`)!),
      );
    return { settings: { dtype: "f32", repeats, peers: peers ?? taskPeers }, rows, summary };
  },
};

const spread = (values: readonly number[]) => ({
  least: Math.min(...values),
  median: median(values),
  most: Math.max(...values),
});

const nameOf = ({ batch, m, transA, transB }: ProductShape): string =>
  `${batch > 1 ? `${batch}x` : ""}${m} ${transA ? "T" : "N"}${transB ? "T" : "N"}`;
