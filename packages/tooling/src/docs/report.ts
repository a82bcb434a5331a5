import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../packages.ts";

type Column =
  | "impl"
  | "model"
  | "mode"
  | "op"
  | "shape"
  | "firstStep"
  | "skipped"
  | "batch"
  | "m"
  | "transA"
  | "transB"
  | "threads"
  | "blocks"
  | "peakBytes"
  | "activationBytes"
  | "driverBytes"
  | "tokensPerSecond"
  | "examplesPerSecond"
  | "gflops"
  | "gbPerSecond"
  | "shareOfPeak"
  | "shareOfBandwidth"
  | "timeMs"
  | "timeMsMinimum"
  | "timeUs"
  | "timeUsMinimum"
  | "importMs"
  | "firstStepMs"
  | "installBytes";

/** A row of a report; suites have different columns. */
export type Row = { readonly [K in Column]?: unknown };

/** Of values over shapes. */
export interface Spread {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

/** Ratios by subject and name. */
export interface Summary {
  readonly linear?: Ratios;
  readonly [subject: string]: Ratios | undefined;
}
export interface Ratios {
  readonly speedOverDecomposed?: number;
  readonly expectedOfBytes?: number;
  readonly biasOverBare?: number;
  readonly geluOverBare?: number;
  readonly exactTimeOverStored?: number;
  readonly shareOfPeak?: Spread;
  readonly [name: string]: number | Spread | Readonly<Record<string, number>> | undefined;
}

/** A report as `npm run bench -- <suite> --save` writes it. */
export interface Report {
  readonly version: string;
  readonly host: {
    readonly name: string;
    readonly cpu: string;
    readonly cores: number;
    readonly node: string;
    /** The GPU, where one computed. */
    readonly device?: string;
  };
  readonly rows: readonly Row[];
  readonly summary: Summary;
}

const folder = join(root, "bench/results");

export const hosts = (): string[] => readdirSync(folder).sort();

/** What a host has saved of a suite. */
export function readReport(host: string, suite: string): Report | undefined {
  const path = join(folder, host, `${suite}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Report) : undefined;
}

/** Rows of what ran. */
export const measured = (rows: readonly Row[]): Row[] => rows.filter((r) => r.skipped === undefined);

export const number = (value: unknown): number => Number(value);
export const percent = (value: unknown): string => (typeof value === "number" ? `${Math.round(100 * value)} %` : "");
/** Three digits. */
export const figure = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
  return { least: sorted[0]!, median, most: sorted.at(-1)! };
}

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
