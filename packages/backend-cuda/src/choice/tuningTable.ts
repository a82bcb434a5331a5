import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { nativeFolder } from "../device/addon.ts";
import { cacheFolder, writeWhole } from "../device/cacheFolder.ts";

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

/** Of our own kernels' text: a table measured with others says nothing. */
function kernelsHash(): string {
  const folder = join(nativeFolder(), "kernels");
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).sort())
    if (name.endsWith(".cu")) hash.update(readFileSync(join(folder, name)));
  return hash.digest("hex").slice(0, 16);
}

/**
 * Which kernel was measured to be the fastest, by op and problem. Read once, when the device is opened, and the same to the
 * end of the process: a choice never depends on when it is made. A file a device, driver and text of our kernels; versions of
 * NVIDIA's libraries are part of a problem's name.
 */
export class TuningTable {
  readonly path: string;
  readonly entries: TuningEntries;
  readonly #key: TuningKey & { readonly kernels: string };

  constructor(key: TuningKey) {
    this.#key = { ...key, kernels: kernelsHash() };
    const name = createHash("sha256").update(JSON.stringify(this.#key)).digest("hex").slice(0, 16);
    this.path = join(cacheFolder(), "tuned", `${name}.json`);
    this.entries = read(this.path);
  }

  /** Names the entries: what two runs must share to have the same bits. Empty without any. */
  get hash(): string {
    const kernels = Object.entries(this.entries).map(([problem, { kernel }]) => `${problem} ${kernel}`);
    return kernels.length === 0 ? "" : createHash("sha256").update(kernels.sort().join("\n")).digest("hex").slice(0, 8);
  }

  /** For people: how many problems of which ops, and how many run another kernel than they would without. */
  get summary(): string {
    const problems = Object.entries(this.entries);
    if (problems.length === 0) return "none: revnet-zero tune makes a table";
    const counts = new Map<string, number>();
    for (const [key] of problems) {
      const op = key.slice(0, key.indexOf(" "));
      counts.set(op, (counts.get(op) ?? 0) + 1);
    }
    const ofOps = [...counts].map(([op, count]) => `${count} of ${op}`).join(", ");
    const changed = problems.filter(([, { timeMs, firstMs }]) => timeMs < firstMs).length;
    return `${problems.length} problems (${ofOps}), ${changed} of them by another kernel than the first, in ${this.path}`;
  }

  /** Adds to the file. This process goes on with what it read. */
  write(entries: TuningEntries): string {
    const all = { ...read(this.path), ...entries };
    const text = `${JSON.stringify({ ...this.#key, entries: all }, undefined, 2)}\n`;
    return writeWhole(dirname(this.path), basename(this.path), text);
  }
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
