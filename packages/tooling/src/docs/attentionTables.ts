import { figure, number, type Report, table } from "./report.ts";

// Tables of the suites attention and long-context, whose rows and summaries have columns of their own.

interface AttentionRow {
  readonly mechanism: string;
  readonly tokens: number;
  readonly timeMs: number;
  readonly bytesPerToken: number;
  readonly keysPerQuery: number | null;
}

type ByTokens = Readonly<Record<string, number>>;
export interface Growth {
  readonly exponent: number;
  readonly exponentOfNLogN: number;
  readonly nanosecondsPerToken: {
    readonly intercept: number;
    readonly perDoubling: number;
    readonly deviation: number;
  };
  readonly from: number;
  readonly to: number;
  readonly bytesPerToken: readonly [number, number];
}
export interface AttentionSummary {
  readonly tiledOverUnfused?: ByTokens;
  readonly hierarchicalOverTiled?: ByTokens;
  readonly recallOverHierarchical?: ByTokens;
  /** On a GPU: how much faster each way is than PyTorch's flash attention. */
  readonly flashOver?: Readonly<Record<string, ByTokens>>;
  readonly growth: Readonly<Record<string, Growth>>;
}

/** Milliseconds by length, and what follows from them. */
export function attentionTables(report: Report): string[] {
  const rows = report.rows as unknown as readonly AttentionRow[];
  const summary = report.summary as unknown as AttentionSummary;
  const lengths = [...new Set(rows.map((r) => r.tokens))];
  const names = [...new Set(rows.map((r) => r.mechanism))];
  const find = (name: string, tokens: number): AttentionRow | undefined =>
    rows.find((r) => r.mechanism === name && r.tokens === tokens);
  const lines = names.map((name) => {
    const own = lengths.map((n) => find(name, n));
    const last = own.filter((r) => r !== undefined).at(-1)!;
    const growth = summary.growth[name];
    return [
      name,
      ...own.map((r) => (r === undefined ? "" : figure(r.timeMs))),
      last.keysPerQuery === null ? "" : figure(last.keysPerQuery),
      figure(last.bytesPerToken),
      growth === undefined ? "" : `${growth.exponent.toFixed(2)} (${growth.exponentOfNLogN.toFixed(2)})`,
    ];
  });
  const ratios = (name: string, by: ByTokens | undefined): string[][] =>
    by === undefined ? [] : [[name, ...lengths.map((n) => times(by[n]))]];
  return [
    table(["ms", ...lengths.map(String), "keys a query", "bytes a token", "exponent (of n log n)"], lines),
    table(
      ["times as fast", ...lengths.map(String)],
      [
        ...ratios("tiled over unfused", summary.tiledOverUnfused),
        ...ratios("hierarchical over tiled", summary.hierarchicalOverTiled),
        ...ratios("hierarchical without recall over with", summary.recallOverHierarchical),
        ...Object.entries(summary.flashOver ?? {}).flatMap(([name, by]) =>
          ratios(`${name} over PyTorch's flash attention`, by),
        ),
      ],
    ),
  ];
}

const times = (ratio: number | undefined): string => (ratio === undefined ? "" : `${figure(ratio)}×`);

interface Interval {
  readonly mean: number;
  readonly halfWidth: number;
}
interface LongContextSummary {
  readonly bitsPerByte: Readonly<Record<string, Interval & { readonly minusDense?: Interval }>>;
  readonly recall: Readonly<
    Record<string, Readonly<Record<string, { readonly share: number; readonly halfWidth: number }>>>
  >;
  readonly chance: number;
}

/** Bits per byte, and shares of questions answered by distance, with 95 % intervals over seeds. */
export function longContextTables(report: Report): string[] {
  const { bitsPerByte, recall, chance } = report.summary as unknown as LongContextSummary;
  const within = ({ mean, halfWidth }: Interval, digits: number): string =>
    `${mean.toFixed(digits)} ± ${halfWidth.toFixed(digits)}`;
  const distances = Object.keys(Object.values(recall)[0] ?? {});
  return [
    table(
      ["attention", "bits per byte", "less dense"],
      Object.entries(bitsPerByte).map(([name, found]) => [
        name,
        within(found, 3),
        found.minusDense === undefined ? "" : within(found.minusDense, 3),
      ]),
    ),
    table(
      [`answered (chance ${number(chance)})`, ...distances.map((d) => `${d} tokens back`)],
      Object.entries(recall).map(([name, by]) => [
        name,
        ...distances.map((d) => within({ mean: by[d]!.share, halfWidth: by[d]!.halfWidth }, 2)),
      ]),
    ),
  ];
}
