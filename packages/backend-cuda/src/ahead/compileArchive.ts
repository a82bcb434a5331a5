import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { archivedName } from "../device/compiler.ts";
import { archiveFile, writeArchive } from "./archive.ts";
import { overLimit, readLimits } from "./limits.ts";
import { archivedTargets, compileAll, namesOf, nvccVersion } from "./nvcc.ts";

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

/** The sources that a run has left in a folder. */
export const sourcesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".cu"))
    .map((name) => readFileSync(join(folder, name), "utf8"));

/** Compiles every source of a folder with nvcc into the archive that devices look in first. */
export async function compileArchive(sources: string, path: string = archiveFile()): Promise<ArchiveReport> {
  if (nvccVersion() === undefined)
    return { compiled: 0, over: [], skipped: "there is no nvcc on the PATH", path, bytes: 0 };
  const texts = sourcesIn(sources).map((text) => [archivedName(text), text] as const);
  const compiled = await compileAll(new Map(texts), archivedTargets);
  const limits = readLimits();
  const over = [...compiled.values()].flatMap(({ resources }) => resources.flatMap((one) => overLimit(one, limits)));
  writeArchive(path, namesOf(archivedTargets), new Map([...compiled].map(([hash, { code }]) => [hash, code])));
  return { compiled: compiled.size, over: [...new Set(over)].sort(), path, bytes: statSync(path).size };
}
