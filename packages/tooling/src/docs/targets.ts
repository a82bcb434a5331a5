import { attentionTargets } from "./attentionTargets.ts";
import { figure, number, percent, type Ratios, type Report, type Row, type Spread, spreadOf, table } from "./report.ts";

/** What the CPU kernels were asked for, and what the saved results say. */
export function targetsTable(read: (suite: string) => Report | undefined): string {
  const rows = targets.flatMap(({ suite, what, asked, askedOnNode20, reached }) => {
    const report = read(suite);
    const wanted = report?.host.node.startsWith("20.") ? askedOnNode20 : asked;
    return report === undefined || wanted === undefined ? [] : [[what, wanted, reached(report), `\`${suite}\``]];
  });
  return table(["what", "asked", "reached", "suite"], rows);
}

interface Target {
  readonly suite: string;
  readonly what: string;
  /** Of the tier with 256 bits. */
  readonly asked: string;
  /** Of the oldest Node, whose best tier has 128 bits; undefined: nothing. */
  readonly askedOnNode20?: string;
  readonly reached: (report: Report) => string;
}

const times = (value: number): string => `${figure(value)}×`;
const ours = ({ rows }: Report): Row[] => rows.filter((r) => r.impl === "revnet-zero");
const shown = (spread: Spread | undefined, show: (value: number) => string): string =>
  spread === undefined ? "not measured" : `${show(spread.median)} (${show(spread.least)} to ${show(spread.most)})`;
/** What a suite has summed up under a name, thread count by thread count. */
const byThreads =
  (name: string, show: (value: number) => string) =>
  ({ summary }: Report): string =>
    Object.entries(summary)
      .filter(([subject]) => /^\d+ threads$/.test(subject))
      .flatMap(([subject, found]) =>
        found?.[name] === undefined ? [] : `${subject}: ${shown(found[name] as Spread, show)}`,
      )
      .join("; ") || "not measured";

const sameTask = (a: Row, b: Row): boolean =>
  (["op", "shape", "batch", "m", "transA", "transB", "threads"] as const).every((k) => a[k] === b[k]);
const javaScript = ["tfjs-wasm", "tfjs-cpu", "jax-js", "numpy-ts", "onnxruntime-web"];

const ofSteps =
  (...names: readonly string[]) =>
  ({ summary }: Report): string =>
    Object.entries(summary)
      .flatMap(([model, found]) => {
        const values = names.map((n) => found?.[n]).filter((v) => typeof v === "number");
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
    askedOnNode20: "87 %",
    reached: (report) => {
      const best = ours(report).map((r) => (number(r.shareOfPeak) * number(r.timeMs)) / number(r.timeMsMinimum));
      return `${byThreads("shareOfPeak", percent)(report)}; fastest runs ${shown(spreadOf(best), percent)}`;
    },
  },
  {
    suite: "matmul",
    what: "products, over the best JavaScript library at each (of medians)",
    asked: "3×",
    askedOnNode20: "1.5×",
    reached: (report) => {
      const best = ours(report).flatMap((row) => {
        const peers = report.rows.filter((r) => javaScript.includes(String(r.impl)) && sameTask(r, row));
        const all = peers.filter((r) => r.timeMs !== undefined).map((r) => number(r.timeMs) / number(row.timeMs));
        return all.length === 0 ? [] : [Math.min(...all)];
      });
      return shown(spreadOf(best), times);
    },
  },
  ...["pytorch", "pytorch-avx2"].map((impl) => ({
    suite: "matmul",
    what: `products, over ${impl}`,
    asked: "0.95×",
    reached: byThreads(`speedOver ${impl}`, times),
  })),
  {
    suite: "matmul",
    what: "products, all threads over one",
    asked: "1.85×",
    askedOnNode20: "1.85×",
    reached: ({ summary }) => {
      const gain = Object.entries(summary).find(([subject]) => subject.startsWith("speedUp"));
      return shown(gain?.[1] as unknown as Spread | undefined, times);
    },
  },
  {
    suite: "step",
    what: "exact reversible, time over stored",
    asked: "1.40",
    askedOnNode20: "1.40",
    reached: ofSteps("exactTimeOverStored"),
  },
  {
    suite: "step",
    what: "over the better of PyTorch eager and compiled",
    asked: "1.15",
    askedOnNode20: "0.65",
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
    reached: ({ summary }: Report) => {
      const found = summary["1 threads"]?.[`speedOver ${impl}`] as Readonly<Record<string, number>> | undefined;
      return ["exp", "tanh", "gelu"]
        .map((op) => {
          const all = Object.entries(found ?? {}).filter(([task]) => task.startsWith(`${op} `));
          return `${op} ${all.map(([, ratio]) => figure(ratio)).join(" and ") || "not measured"}`;
        })
        .join(", ");
    },
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
  ...attentionTargets,
];
