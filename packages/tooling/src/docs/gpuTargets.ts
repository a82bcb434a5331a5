import {
  attentionOverPytorch,
  overParts,
  shareOfBest,
  shareOfBytes,
  shareOfCopy,
  untunedOfBest,
} from "./gpuKernels.ts";
import { figure, number, percent, type Report, type Row, table } from "./report.ts";

/** What a GPU was asked for, and what its saved results say. */
export function gpuTargetsTable(read: (suite: string) => Report | undefined): string {
  const rows = gpuTargets.flatMap(({ suite, what, asked, reached }) => {
    const report = read(suite);
    return report === undefined ? [] : [[what, asked, reached(report), `\`${suite} --backend cuda\``]];
  });
  return table(["what", "asked", "reached", "suite"], rows);
}

interface Target {
  readonly suite: string;
  readonly what: string;
  readonly asked: string;
  readonly reached: (report: Report) => string;
}

/** Models of the suite `step`. */
const [gpt2, medium, deep] = ["gpt-12x768, 32 x 1024", "gpt-24x1024, 16 x 1024", "gpt-96x768, 8 x 1024"] as const;
const GIB = 2 ** 30;
const gib = (bytes: unknown): string => `${figure(number(bytes) / GIB)} GiB`;

const speedOf =
  (model: string, mode: string) =>
  ({ rows }: Report): string => {
    const row = rows.find((r) => r.model === model && r.impl === "revnet-zero" && r.mode === mode);
    return row === undefined ? "not measured" : figure(number(row.tokensPerSecond));
  };

const peakOver =
  (mode: string, peer: string) =>
  ({ rows }: Report): string => {
    const bytes = (impl: string, of: string): number =>
      number(rows.find((r) => r.model === gpt2 && r.impl === impl && r.mode === of)?.peakBytes);
    return percent(bytes("revnet-zero", mode) / bytes("pytorch", peer));
  };

const over =
  (model: string, peer: string) =>
  ({ summary }: Report): string => {
    const ratio = summary[model]?.[`speedOver ${peer}`];
    return typeof ratio === "number" ? figure(ratio) : "not measured";
  };

/** The deepest row of a way to train. */
function deepest(rows: readonly Row[], mode: string): Row | undefined {
  const own = rows.filter((r) => r.mode === mode);
  return own.find((r) => number(r.blocks) === Math.max(...own.map((o) => number(o.blocks))));
}

const ofDeepest =
  (mode: string, show: (row: Row) => string) =>
  ({ rows }: Report): string => {
    const row = deepest(rows, mode);
    return row === undefined ? "not measured" : `${row.blocks} blocks: ${show(row)}`;
  };

const exact = "reversible-exact";
const totals = (row: Row): string => `${gib(row.peakBytes)}, by the driver's count ${gib(row.driverBytes)}`;

const equality = (isEqual: unknown): string => (isEqual === undefined ? "not measured" : isEqual ? "equal" : "differ");

/** Every ladder's ratio. */
const overFlash =
  (tokens: number) =>
  ({ summary }: Report): string =>
    Object.entries((summary.flashOver ?? {}) as Readonly<Record<string, Readonly<Record<string, number>>>>)
      .map(([name, by]) => `${name}: ${figure(number(by[tokens]))}`)
      .join("; ");

const gpuTargets: readonly Target[] = [
  {
    suite: "step",
    what: "ordinary step, 12 x 768 at 32 x 1024, bfloat16: tokens a second",
    asked: "491,000",
    reached: speedOf(gpt2, "ordinary"),
  },
  { suite: "step", what: "exact reversible step, the same sizes", asked: "390,000", reached: speedOf(gpt2, exact) },
  {
    suite: "step",
    what: "the same, its peak of what compiled PyTorch allocates",
    asked: "33 %",
    reached: peakOver(exact, "compiled"),
  },
  {
    suite: "step",
    what: "ordinary step, speed over PyTorch compiled",
    asked: "1",
    reached: over(gpt2, "pytorch compiled"),
  },
  { suite: "step", what: "the same, over PyTorch eager", asked: "1", reached: over(gpt2, "pytorch eager") },
  {
    suite: "step",
    what: "exact reversible step, speed over a float reversible one in PyTorch",
    asked: "1.27",
    reached: over(gpt2, "pytorch reversible (float), eager"),
  },
  {
    suite: "step",
    what: "ordinary step, 24 x 1024 at 16 x 1024: tokens a second",
    asked: "181,000",
    reached: speedOf(medium, "ordinary"),
  },
  { suite: "step", what: "exact reversible step, the same sizes", asked: "150,000", reached: speedOf(medium, exact) },
  {
    suite: "step",
    what: "ordinary step, the same sizes, speed over PyTorch compiled",
    asked: "1",
    reached: over(medium, "pytorch compiled"),
  },
  {
    suite: "step",
    what: "exact reversible step, 96 x 768 at 8 x 1024, speed over PyTorch eager, which stores",
    asked: "1.2",
    reached: over(deep, "pytorch eager"),
  },
  {
    suite: "depth",
    what: "activation memory, growth from the fewest blocks to the most",
    asked: "0 %",
    reached: ({ summary }) => percent(summary.exactActivationGrowth),
  },
  {
    suite: "depth",
    what: "activation memory of an exact step",
    asked: "96 blocks: 0.7 GiB",
    reached: ofDeepest(exact, (row) => gib(row.activationBytes)),
  },
  {
    suite: "depth",
    what: "all memory of an exact step",
    asked: "96 blocks: 12.8 GiB",
    reached: ofDeepest(exact, totals),
  },
  {
    suite: "depth",
    what: "the same, blocks updated in backward",
    asked: "96 blocks: 10.5 GiB",
    reached: ofDeepest(`${exact}, updated in backward`, totals),
  },
  {
    suite: "exactness",
    what: "exact rows whose reconstruction and gradients have the bits of stored ones",
    asked: "all",
    reached: ({ summary }) => `${summary.exactRowsBitEqual} of ${summary.exactRows}`,
  },
  {
    suite: "exactness",
    what: "weights after 200 AdamW steps, rebuilt against stored",
    asked: "equal",
    reached: ({ summary }) => equality(summary.weightsBitEqualAfterSteps),
  },
  {
    suite: "exactness",
    what: "weights of a run that goes on twice from one checkpoint",
    asked: "equal",
    reached: ({ summary }) => equality(summary.weightsBitEqualFromOneCheckpoint),
  },
  {
    suite: "attention",
    what: "hierarchical attention to 131,072 tokens, speed over PyTorch's flash attention",
    asked: "10",
    reached: overFlash(131_072),
  },
  {
    suite: "attention",
    what: "the same, 1,048,576 tokens",
    asked: "50",
    reached: overFlash(1_048_576),
  },
  {
    suite: "kernels",
    what: "memory-bound kernels of a step: share of a copy's bandwidth",
    asked: "80 % of it, all",
    reached: shareOfCopy,
  },
  {
    suite: "kernels",
    what: "the same, speed over their parts: share of the ratio of bytes",
    asked: "0.85, all",
    reached: shareOfBytes,
  },
  {
    suite: "kernels",
    what: "softmax, cross-entropy, AdamW, attention: speed over their parts",
    asked: "2",
    reached: overParts,
  },
  { suite: "kernels", what: "attention, speed over PyTorch's best", asked: "1", reached: attentionOverPytorch },
  {
    suite: "kernels",
    what: "products: share of cuBLASLt's best for the shape",
    asked: "95 %, all",
    reached: shareOfBest,
  },
  { suite: "kernels", what: "the same on a machine that nobody tuned", asked: "", reached: untunedOfBest },
];
