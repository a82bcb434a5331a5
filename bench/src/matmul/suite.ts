import { availableParallelism } from "node:os";
import { startPytorch } from "../pytorch.ts";
import { median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import type { ProductShape } from "./product.ts";

const square = (size: number, transA = false, transB = false, batch = 1): ProductShape => ({
  ...{ batch, m: size, k: size, n: size, transA, transB },
});

const fullShapes: readonly ProductShape[] = [
  ...[256, 512, 1024, 2048].map((size) => square(size)),
  ...[256, 1024].flatMap((size) => [square(size, false, true), square(size, true), square(size, true, true)]),
  square(256, false, false, 16),
];
/** Products in a row, so that a measurement takes some ten milliseconds. */
const timesOf = ({ batch, m, k, n }: ProductShape): number => Math.max(1, Math.round(2e9 / (2 * batch * m * k * n)));

interface Contestant {
  readonly impl: string;
  readonly subject: Subject;
}

/** Float32 matrix products, plain, transposed and batched, on one thread and on all. */
export const matmul: Suite = {
  about: "float32 matrix products against the machine's measured peak, and against PyTorch on the CPU",
  run: async ({ isQuick, peers, log }) => {
    const shapes = isQuick ? [square(64), square(64, true, true, 2)] : fullShapes;
    const repeats = isQuick ? 2 : 11;
    const counts = isQuick ? [1] : [...new Set([1, availableParallelism()])];
    const rows: Row[] = [];
    const summary: Record<string, unknown> = {};
    const ourTimes = new Map<string, number>();
    for (const threads of counts) {
      const { contestants, skipped, peakFlops, tier } = await start(threads, peers);
      for (const shape of shapes) {
        const name = nameOf(shape);
        const times = await measure(contestants, shape, repeats);
        const flops = 2 * shape.batch * shape.m * shape.k * shape.n;
        contestants.forEach(({ impl }, i) => {
          const { timeMs, ...time } = timeColumns(times[i]!);
          const gflops = flops / timeMs / 1e6;
          const shareOfPeak = peakFlops === null ? null : (gflops * 1e9) / peakFlops;
          rows.push({ impl, tier: i === 0 ? tier : null, ...shape, threads, gflops, shareOfPeak, timeMs, ...time });
          log(`  ${name}, ${threads} threads, ${impl}: ${gflops.toFixed(1)} GFLOP/s`);
        });
        ourTimes.set(`${name} ${threads}`, median(times[0]!));
        if (times[1] !== undefined)
          summary[`speedOverPytorch ${name}, ${threads} threads`] = median(times[1].map((t, i) => t / times[0]![i]!));
      }
      for (const reason of skipped) rows.push({ impl: "pytorch", threads, skipped: reason });
      summary[`peakGflops, ${threads} threads`] = peakFlops === null ? null : peakFlops / 1e9;
      for (const { subject } of contestants) subject[Symbol.dispose]();
    }
    const most = counts.at(-1)!;
    if (most > 1)
      for (const shape of shapes) {
        const name = nameOf(shape);
        summary[`speedUp ${name}, ${most} threads`] = ourTimes.get(`${name} 1`)! / ourTimes.get(`${name} ${most}`)!;
      }
    return { settings: { dtype: "f32" }, rows, summary };
  },
};

const nameOf = ({ batch, m, transA, transB }: ProductShape): string =>
  `${batch > 1 ? `${batch}x` : ""}${m} ${transA ? "T" : "N"}${transB ? "T" : "N"}`;

async function start(threads: number, peers: readonly string[] | undefined) {
  const env = { ...process.env, REVNET_THREADS: String(threads) };
  const ours = Subject.node("revnet-zero", new URL("./product.ts", import.meta.url), env);
  const { flops } = await ours.ask<{ flops: number | null }>({ peak: true });
  const { tier } = await ours.ask<{ tier: string }>({ prepare: square(8) });
  const contestants: Contestant[] = [{ impl: "revnet-zero", subject: ours }];
  const skipped: string[] = [];
  if (peers === undefined || peers.includes("pytorch")) {
    const peer = await startPytorch("pytorch_matmul.py", { threads });
    if (typeof peer === "string") skipped.push(peer);
    else contestants.push({ impl: "pytorch", subject: peer });
  }
  return { contestants, skipped, peakFlops: flops, tier };
}

/** Times of one product, measured in turn. */
async function measure(
  contestants: readonly Contestant[],
  shape: ProductShape,
  repeats: number,
): Promise<readonly number[][]> {
  const run = timesOf(shape);
  for (const { subject } of contestants) {
    await subject.ask({ prepare: shape });
    await subject.ask({ run });
  }
  const times = contestants.map((): number[] => []);
  for (let n = 0; n < repeats; n++)
    for (const [i, { subject }] of contestants.entries())
      times[i]!.push((await subject.ask<{ timeMs: number }>({ run })).timeMs);
  return times;
}
