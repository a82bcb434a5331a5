import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { dirname, join } from "node:path";
import { readEnvironment } from "@revnet-zero/tensor";
import type { TimeNetworkState } from "../costModel/timeNetwork.ts";

/** The file that keeps what was learned of a backend's times on this machine. */
export function usualFile(backend: string): string {
  const folder = readEnvironment("REVNET_SCHEDULER_CACHE") || join(homedir(), ".cache", "revnet-zero", "scheduler");
  const plain = (text: string): string => text.replace(/[^A-Za-z0-9._-]+/g, "-");
  return join(folder, `${plain(hostname())}-${plain(backend)}.json`);
}

/** What the file holds; undefined where there is none, or none that can be read: then learning begins anew. */
export function readHostMemory(path: string): TimeNetworkState | undefined {
  try {
    const found: unknown = JSON.parse(readFileSync(path, "utf8"));
    const isState = typeof found === "object" && found !== null && "version" in found && "parameters" in found;
    return isState ? (found as TimeNetworkState) : undefined;
  } catch {
    return undefined;
  }
}

/** Under its name is the old file or the new one, whole, whenever the process ends and however many write. */
export function writeHostMemory(path: string, state: TimeNetworkState): void {
  const temporary = `${path}.tmp-${process.pid}`;
  mkdirSync(dirname(path), { recursive: true });
  try {
    writeFileSync(temporary, JSON.stringify(state), { flush: true });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
