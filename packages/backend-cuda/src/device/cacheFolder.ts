import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { readEnvironment } from "@revnet-zero/tensor";

/** Folder of what later runs need not find out again: machine code of kernels, and which kernel is the faster. */
export const cacheFolder = (): string =>
  readEnvironment("REVNET_CUDA_CACHE") ||
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "revnet-zero", "cuda");

/** Written beside and renamed: another process reads all of it or nothing. Throws where the folder cannot be written. */
export function writeWhole(folder: string, name: string, content: Uint8Array | string): string {
  mkdirSync(folder, { recursive: true });
  const draft = join(folder, `${name}.${process.pid}`);
  writeFileSync(draft, content);
  renameSync(draft, join(folder, name));
  return join(folder, name);
}
