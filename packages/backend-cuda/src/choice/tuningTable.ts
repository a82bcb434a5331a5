import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { nativeFolder } from "../device/addon.ts";
import { cacheFolder, writeWhole } from "../device/cacheFolder.ts";
import { kernelFiles, kernelText } from "../device/sources.ts";

/** What a measurement holds for: on anything else another kernel may be the faster. */
export interface TuningKey {
  readonly device: string;
  readonly target: string;
  readonly driverVersion: number;
}

export interface TuningEntry {
  readonly kernel: string;
  readonly timeMs: number;
  /** Of the kernel that would have run without the table. */
  readonly firstMs: number;
}

export type TuningEntries = Readonly<Record<string, TuningEntry>>;

/**
 * What ships with this package for a device of the name, measured on one (`native-cuda/tuned/`): only where another kernel than the first
 * was faster, so that it serves untuned machines as well. An entry whose problem names another version of a library never applies.
 */
function shippedFor(device: string): TuningEntries {
  const folder = join(nativeFolder(), "tuned");
  const files = existsSync(folder) ? readdirSync(folder) : [];
  const tables = files.map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")) as ShippedTable);
  return tables.find((table) => table.device === device)?.entries ?? {};
}

interface ShippedTable {
  readonly device: string;
  readonly entries: TuningEntries;
}

/** Of our own kernels' text: a table measured with others says nothing. */
function kernelsHash(): string {
  const hash = createHash("sha256");
  for (const file of kernelFiles()) hash.update(kernelText(file));
  return hash.digest("hex").slice(0, 16);
}

/**
 * Which kernel was measured to be the fastest, by op and problem: here, and where it was not measured here, as it ships. Read once, when
 * the device is opened, and the same to the end of the process: a choice never depends on when it is made. A file a device, driver and
 * text of our kernels; versions of NVIDIA's libraries are part of a problem's name.
 */
export class TuningTable {
  readonly path: string;
  readonly entries: TuningEntries;
  readonly shipped: TuningEntries;
  readonly #measured: TuningEntries;
  readonly #key: TuningKey & { readonly kernels: string };

  constructor(key: TuningKey) {
    this.#key = { ...key, kernels: kernelsHash() };
    const name = createHash("sha256").update(JSON.stringify(this.#key)).digest("hex").slice(0, 16);
    this.path = join(cacheFolder(), "tuned", `${name}.json`);
    this.shipped = shippedFor(key.device);
    this.#measured = read(this.path);
    this.entries = { ...this.shipped, ...this.#measured };
  }

  /** Names the entries: what two runs must share to have the same bits. Empty without any. */
  get hash(): string {
    const kernels = Object.entries(this.entries).map(([problem, { kernel }]) => `${problem} ${kernel}`);
    return kernels.length === 0 ? "" : createHash("sha256").update(kernels.sort().join("\n")).digest("hex").slice(0, 8);
  }

  /** For people: how many problems of which ops, and how many run another kernel than they would without. */
  get summary(): string {
    const shipped = Object.keys(this.shipped).length;
    const beside = shipped === 0 ? "" : `${shipped} problems as they ship for this device; `;
    const problems = Object.entries(this.#measured);
    if (problems.length === 0) return `${beside}none measured here: revnet-zero tune makes a table`;
    const counts = new Map<string, number>();
    for (const [key] of problems) {
      const op = key.slice(0, key.indexOf(" "));
      counts.set(op, (counts.get(op) ?? 0) + 1);
    }
    const ofOps = [...counts].map(([op, count]) => `${count} of ${op}`).join(", ");
    const changed = problems.filter(([, { timeMs, firstMs }]) => timeMs < firstMs).length;
    return `${beside}${problems.length} problems (${ofOps}), ${changed} of them by another kernel than the first, in ${this.path}`;
  }

  /** Adds to the file. This process goes on with what it read. */
  write(entries: TuningEntries): string {
    const all = { ...read(this.path), ...entries };
    const text = `${JSON.stringify({ ...this.#key, entries: all }, undefined, 2)}\n`;
    return writeWhole(dirname(this.path), basename(this.path), text);
  }
}

/** The entries of a table's file that ship: those of another kernel than the first. */
export function shippable({ device }: Pick<TuningKey, "device">, path: string): string {
  const entries = Object.entries(read(path)).filter(([, { timeMs, firstMs }]) => timeMs < firstMs);
  return `${JSON.stringify({ device, entries: Object.fromEntries(entries.sort()) }, undefined, 2)}\n`;
}

/** A file that is not there, or not a table, is an empty one. */
function read(path: string): TuningEntries {
  try {
    const { entries } = JSON.parse(readFileSync(path, "utf8")) as { readonly entries?: TuningEntries };
    return typeof entries === "object" && entries !== null ? entries : {};
  } catch {
    return {};
  }
}
