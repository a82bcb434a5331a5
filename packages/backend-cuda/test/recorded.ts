import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildAddon, buildStandIn } from "../src/build.ts";

/**
 * A new folder with the sources of kernels that calls of every op ask for (recordOps.ts says which), or why there is none. The
 * stand-in driver serves another process: this one goes on with NVIDIA's own libraries.
 */
export function recordOps(which: "families" | number): { readonly folder: string; readonly reason?: string } {
  if (process.platform !== "linux") return { folder: "", reason: "the stand-in for the CUDA driver needs Linux" };
  try {
    buildAddon();
    buildStandIn();
  } catch (error) {
    return { folder: "", reason: (error as Error).message };
  }
  const folder = mkdtempSync(join(tmpdir(), "revnet-sources-"));
  const local = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  // The Node that strips types, whichever runs the tests.
  const words = [local("../../tooling/bin/node24.mjs"), "--conditions=@revnet-zero/source", local("recordOps.ts")];
  execFileSync(process.execPath, [...words, folder, String(which)], { stdio: ["ignore", "pipe", "inherit"] });
  return { folder };
}
