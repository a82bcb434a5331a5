import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadAddon } from "../device/addon.ts";
import { planCompilation } from "../device/compiler.ts";
import { builtinsBeside, openLibrary } from "../device/libraries.ts";

/** How many sources were compiled, and how many were there already. */
export interface AheadReport {
  readonly compiled: number;
  readonly present: number;
}

/**
 * Compiles every source of a folder for a target (sm_90a), into the folder that devices look in first. Needs NVRTC and no
 * GPU. The folder of sources is what any run leaves in REVNET_CUDA_CACHE, one on the stand-in driver included.
 */
export function compileAhead(sources: string, to: string, target: string, cudaMajor = 13): AheadReport {
  const addon = loadAddon();
  openLibrary("nvrtc", cudaMajor, (path) => addon.openCompiler(path, builtinsBeside(path)));
  const folder = join(to, target);
  mkdirSync(folder, { recursive: true });
  let [compiled, present] = [0, 0];
  for (const file of readdirSync(sources).filter((name) => name.endsWith(".cu"))) {
    const source = readFileSync(join(sources, file), "utf8");
    const { options, name } = planCompilation(source, target);
    const path = join(folder, `${name}.cubin`);
    if (existsSync(path)) present++;
    else {
      writeFileSync(path, addon.compile(source, file, options));
      compiled++;
    }
  }
  return { compiled, present };
}
