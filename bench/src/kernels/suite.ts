import { timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import { ratio } from "../tasks/contest.ts";
import { caseNames } from "./cases.ts";
import { kernelsOnGpu } from "./onGpu.ts";

interface Prepared {
  readonly tier: string;
  readonly threads: number;
  readonly fusedBytes: number;
  readonly decomposedBytes: number;
}
const WANTED_MS = 15;
const product = { full: [2048, 1536, 384], quick: [16, 16, 16] } as const;

/** Fused kernels against the ops they are made of, and a product with its epilogue against the bare product. */
export const kernels: Suite = {
  about: "fused kernels against their decompositions on the same tier; the expected ratio is that of the bytes moved",
  backends: ["cpu", "cuda"],
  run: async (context) => {
    const { isQuick, log } = context;
    if (context.backend === "cuda") return kernelsOnGpu(context);
    const subject = Subject.node("kernels", new URL("./subject.ts", import.meta.url));
    const repeats = isQuick ? 2 : 15;
    const rows: Row[] = [];
    const summary: { [name: string]: unknown; linear?: unknown } = {};
    for (const name of caseNames) {
      const { tier, threads, fusedBytes, decomposedBytes } = await subject.ask<Prepared>({ prepare: name, isQuick });
      const [fused, decomposed] = await inTurn(subject, ["fused", "decomposed"], repeats);
      for (const [impl, times, bytes] of [
        ["fused", fused!, fusedBytes],
        ["decomposed", decomposed!, decomposedBytes],
      ] as const) {
        const { timeMs, ...time } = timeColumns(times);
        rows.push({ op: name, impl, tier, threads, gbPerSecond: bytes / timeMs / 1e6, timeMs, ...time });
      }
      const found = { speedOverDecomposed: ratio(decomposed!, fused!), expectedOfBytes: decomposedBytes / fusedBytes };
      summary[name] = found;
      log(
        `  ${name}: ${found.speedOverDecomposed.toFixed(2)} times the decomposition, bytes ${found.expectedOfBytes.toFixed(2)}`,
      );
    }
    const [m, n, k] = isQuick ? product.quick : product.full;
    const { tier, threads } = await subject.ask<Prepared>({ prepareProduct: [m, n, k] });
    const impls = ["bare", "bias", "gelu"];
    const times = await inTurn(subject, impls, repeats);
    for (const [i, impl] of impls.entries()) {
      const { timeMs, ...time } = timeColumns(times[i]!);
      rows.push({
        op: `linear ${m}x${n}x${k}`,
        impl,
        tier,
        threads,
        gflops: (2 * m * n * k) / timeMs / 1e6,
        timeMs,
        ...time,
      });
    }
    summary.linear = { biasOverBare: ratio(times[1]!, times[0]!), geluOverBare: ratio(times[2]!, times[0]!) };
    subject[Symbol.dispose]();
    return { settings: { dtype: "f32" }, rows, summary };
  },
};

/** Times of one run of each, measured in turn. */
async function inTurn(subject: Subject, impls: readonly string[], repeats: number): Promise<number[][]> {
  const run = async (impl: string, times: number) =>
    (await subject.ask<{ timeMs: number }>({ run: impl, times })).timeMs;
  const counts: number[] = [];
  for (const impl of impls) {
    const first = await run(impl, 1);
    const warm = await run(impl, Math.max(1, Math.round(WANTED_MS / first)));
    counts.push(Math.max(1, Math.round(WANTED_MS / warm)));
  }
  const all = impls.map((): number[] => []);
  for (let n = 0; n < repeats; n++) for (const [i, impl] of impls.entries()) all[i]!.push(await run(impl, counts[i]!));
  return all;
}
