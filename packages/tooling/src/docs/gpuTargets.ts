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

const large = "gpt-12x768, 32 x 1024";
const GIB = 2 ** 30;
const gib = (bytes: unknown): string => `${figure(number(bytes) / GIB)} GiB`;

const speedOf =
  (mode: string) =>
  ({ rows }: Report): string => {
    const row = rows.find((r) => r.model === large && r.impl === "revnet-zero" && r.mode === mode);
    return row === undefined ? "not measured" : figure(number(row.tokensPerSecond));
  };

const over =
  (peer: string) =>
  ({ summary }: Report): string => {
    const ratio = summary[large]?.[`speedOver ${peer}`];
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

const gpuTargets: readonly Target[] = [
  {
    suite: "step",
    what: "ordinary step, 12 x 768 at 32 x 1024, bfloat16: tokens a second",
    asked: "312,000",
    reached: speedOf("ordinary"),
  },
  { suite: "step", what: "exact reversible step, the same sizes", asked: "220,000", reached: speedOf(exact) },
  { suite: "step", what: "ordinary step, speed over PyTorch eager", asked: "1", reached: over("pytorch eager") },
  { suite: "step", what: "ordinary step, speed over PyTorch compiled", asked: "", reached: over("pytorch compiled") },
  {
    suite: "step",
    what: "exact reversible step, speed over a float reversible one in PyTorch",
    asked: "",
    reached: over("pytorch reversible (float), eager"),
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
];
