import { figure, median, number, percent, type Ratios, type Report, type Row, table } from "./report.ts";

/** What the CPU kernels were asked for, and what the saved results say. */
export function targetsTable(read: (suite: string) => Report | undefined): string {
  const rows = targets.flatMap(({ suite, what, asked, reached }) => {
    const report = read(suite);
    return report === undefined ? [] : [[what, asked, reached(report), `\`${suite}\``]];
  });
  return table(["what", "asked", "reached", "suite"], rows);
}

interface Target {
  readonly suite: string;
  readonly what: string;
  readonly asked: string;
  readonly reached: (report: Report) => string;
}

const times = (value: number): string => `${figure(value)}×`;
const ours = ({ rows }: Report): Row[] => rows.filter((r) => r.impl === "revnet-zero");
const spread = (values: readonly number[], show: (value: number) => string): string =>
  values.length === 0
    ? "not measured"
    : `${show(median(values))} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;

const sameTask = (a: Row, b: Row): boolean =>
  (["op", "shape", "batch", "m", "transA", "transB", "threads"] as const).every((k) => a[k] === b[k]);
/** How many times longer a peer takes at every task that both have done. */
const speedOver = (report: Report, impl: string, of: (r: Row) => boolean = () => true): number[] =>
  ours(report)
    .filter(of)
    .flatMap((row) => {
      const peer = report.rows.find((r) => r.impl === impl && r.timeMs !== undefined && sameTask(r, row));
      return peer === undefined ? [] : [number(peer.timeMs) / number(row.timeMs)];
    });
const javaScript = ["tfjs-wasm", "tfjs-cpu", "jax-js", "numpy-ts", "onnxruntime-web"];

const ofSteps =
  (...names: readonly string[]) =>
  ({ summary }: Report): string =>
    Object.entries(summary)
      .flatMap(([model, found]) => {
        const values = names.flatMap((n) => found?.[n] ?? []);
        return values.length === 0 ? [] : [`${model} ${figure(Math.min(...values))}`];
      })
      .join(", ");

const ofKernels =
  (names: readonly string[] | undefined, value: (found: Ratios) => number) =>
  ({ summary }: Report): string =>
    Object.entries(summary)
      .filter(([op]) => op !== "linear" && (names?.includes(op) ?? !twice.includes(op)))
      .map(([op, found]) => `${op} ${figure(value(found!))}`)
      .join(", ");
/** Those that were asked to be twice as fast as their parts. */
const twice = [
  ...["softmax", "crossEntropy", "crossEntropyBackward", "attention", "attentionBackward", "adamw"],
  ...["layerNormBackward", "rmsNormBackward"],
];

const targets: readonly Target[] = [
  {
    suite: "matmul",
    what: "products, share of the peak measured beside them",
    asked: "90 %",
    reached: (report) =>
      `${spread(
        ours(report).map((r) => number(r.shareOfPeak)),
        percent,
      )}; fastest runs ${spread(
        ours(report).map((r) => (number(r.shareOfPeak) * number(r.timeMs)) / number(r.timeMsMinimum)),
        percent,
      )}`,
  },
  {
    suite: "matmul",
    what: "products, over the best JavaScript library at each",
    asked: "3×",
    reached: (report) => {
      const best = ours(report).flatMap((row) => {
        const all = javaScript.flatMap((impl) => speedOver(report, impl, (r) => r === row));
        return all.length === 0 ? [] : [Math.min(...all)];
      });
      return spread(best, times);
    },
  },
  ...["pytorch", "pytorch-avx2"].map((impl) => ({
    suite: "matmul",
    what: `products, over ${impl}`,
    asked: "0.95×",
    reached: (report: Report) => spread(speedOver(report, impl), times),
  })),
  {
    suite: "matmul",
    what: "products, all threads over one",
    asked: "1.85×",
    reached: (report) => {
      const alone = ours(report).filter((r) => r.threads === 1);
      const gains = alone.flatMap((one) => {
        const all = ours(report).find((r) => r.threads !== 1 && sameTask({ ...r, threads: 1 }, one));
        return all === undefined ? [] : [number(one.timeMs) / number(all.timeMs)];
      });
      return spread(gains, times);
    },
  },
  {
    suite: "step",
    what: "exact reversible, time over stored",
    asked: "1.40",
    reached: ofSteps("exactTimeOverStored"),
  },
  {
    suite: "step",
    what: "over the better of PyTorch eager and compiled",
    asked: "1.15",
    reached: ofSteps("speedOver pytorch eager", "speedOver pytorch compiled"),
  },
  {
    suite: "step",
    what: "over PyTorch held to AVX2",
    asked: "1.15",
    reached: ofSteps("speedOver pytorch eager, AVX2 alone"),
  },
  { suite: "step", what: "over jax-js", asked: "7", reached: ofSteps("speedOver jax-js jit") },
  { suite: "step", what: "over tfjs-wasm", asked: "50", reached: ofSteps("speedOver tfjs-wasm eager") },
  {
    suite: "kernels",
    what: "fused, over their parts",
    asked: "2",
    reached: ofKernels(twice, (found) => found.speedOverDecomposed!),
  },
  {
    suite: "kernels",
    what: "other fusions, share of the ratio of bytes",
    asked: "0.85",
    reached: ofKernels(undefined, (found) => found.speedOverDecomposed! / found.expectedOfBytes!),
  },
  {
    suite: "kernels",
    what: "a product with its epilogue, time over the bare one",
    asked: "1.06",
    reached: ({ summary: { linear } }) =>
      `bias ${figure(linear!.biasOverBare!)}, bias and GELU ${figure(linear!.geluOverBare!)}`,
  },
  {
    suite: "ops",
    what: "large tensors, share of the memory's bandwidth",
    asked: "80 %",
    reached: (report) =>
      ours(report)
        .filter((r) => r.shape === "8192x2048" && ["add", "mul", "cast", "layerNorm"].includes(String(r.op)))
        .map((r) => `${r.op} ${percent(r.shareOfBandwidth)} (${r.threads})`)
        .join(", "),
  },
  ...["pytorch", "pytorch-avx2"].map((impl) => ({
    suite: "ops",
    what: `functions on one thread, over ${impl}`,
    asked: "1.5",
    reached: (report: Report) =>
      ["exp", "tanh", "gelu"]
        .map((op) => {
          const all = speedOver(report, impl, (r) => r.op === op && r.threads === 1);
          return `${op} ${all.map(figure).join(" and ") || "not measured"}`;
        })
        .join(", "),
  })),
  {
    suite: "overhead",
    what: "an op on 1,024 elements, microseconds",
    asked: "2",
    reached: (report) =>
      ours(report)
        .map((r) => `${r.op} ${figure(number(r.timeUs))}, best ${figure(number(r.timeUsMinimum))}`)
        .join("; "),
  },
];
