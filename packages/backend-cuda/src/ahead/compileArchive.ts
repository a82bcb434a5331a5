import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { archivedName } from "../device/compiler.ts";
import { archiveFile, writeArchive } from "./archive.ts";
import { overLimit, readLimits } from "./limits.ts";
import { architectures, compileAll, nvccVersion } from "./nvcc.ts";

export interface ArchiveReport {
  /** Sources. */
  readonly compiled: number;
  /** Kernels over their limits, in words. */
  readonly over: readonly string[];
  /** Why nothing was compiled. */
  readonly skipped?: string;
  readonly path: string;
  readonly bytes: number;
}

/** Compiles every source of a folder with nvcc into the archive that devices look in first. */
export async function compileArchive(sources: string): Promise<ArchiveReport> {
  const path = archiveFile();
  if (nvccVersion() === undefined)
    return { compiled: 0, over: [], skipped: "there is no nvcc on the PATH", path, bytes: 0 };
  const texts = readdirSync(sources)
    .filter((name) => name.endsWith(".cu"))
    .map((name) => readFileSync(join(sources, name), "utf8"));
  const compiled = await compileAll(new Map(texts.map((text) => [archivedName(text), text])));
  const limits = readLimits();
  const over = [...compiled.values()].flatMap(({ resources }) => resources.flatMap((one) => overLimit(one, limits)));
  writeArchive(path, architectures, new Map([...compiled].map(([hash, { code }]) => [hash, code])));
  return { compiled: compiled.size, over: [...new Set(over)].sort(), path, bytes: statSync(path).size };
}
