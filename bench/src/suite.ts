import type { LineChart, ScatterChart } from "@revnet-zero/plot";
import type { BackendName } from "./backends.ts";

export type Cell = string | number | boolean | null;

/** One measurement: what was measured, and figures with their unit in the name. */
export type Row = Readonly<Record<string, Cell>>;

export interface SuiteResult {
  /** What all rows have in common: sizes, repeats. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly rows: readonly Row[];
  /** What follows from the rows: ratios, slopes, verdicts. */
  readonly summary: Readonly<Record<string, unknown>>;
}

export interface BenchContext {
  readonly backend: BackendName;
  /** Peers to compare with; undefined is all a suite has. */
  readonly peers: readonly string[] | undefined;
  /** Small sizes and few repeats: to see that it runs, not to quote. */
  readonly isQuick: boolean;
  /** A line for whoever waits. */
  readonly log: (line: string) => void;
}

export interface Suite {
  /** What it measures, in one line. */
  readonly about: string;
  /** What it can measure. Default: the CPU alone. */
  readonly backends?: readonly BackendName[];
  run(context: BenchContext): Promise<SuiteResult>;
  /** The rows as a picture: lines, or trade-offs. */
  readonly chart?: (rows: readonly Row[]) => LineChart;
  readonly tradeOffs?: (rows: readonly Row[]) => ScatterChart;
}
