import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildAddon, buildStandIn } from "../build.ts";
import { nativeFolder } from "../device/addon.ts";

/** What the stand-in says it is; told to compile and run no kernel (REVNET_STANDIN_IDLE=1), the other. */
export const standInTargets = { running: "sm_00", idle: "sm_01" } as const;

/** Where kernels compiled for the stand-in are kept: a folder for each state of what compiles and loads them. */
export function standInCache(): string {
  const folder = join(nativeFolder(), "standin");
  const hash = createHash("sha256");
  for (const name of ["host.h", "hopper.h", "compiler.cc", "driver.cc"]) hash.update(readFileSync(join(folder, name)));
  return join(tmpdir(), `revnet-standin-${hash.digest("hex").slice(0, 12)}`);
}

/**
 * Builds the addon and the stand-in for NVIDIA's driver, and turns this process to them. Gives the reason where that is not
 * possible here, for whoever skips.
 */
export function useStandIn(): string | undefined {
  if (process.platform !== "linux") return "the stand-in for the CUDA driver needs Linux";
  try {
    process.env.REVNET_CUDA_ADDON = buildAddon();
    const driver = buildStandIn();
    process.env.REVNET_CUDA_DRIVER = driver;
    process.env.REVNET_CUDA_LIBRARIES = dirname(driver);
    process.env.REVNET_CUDA_CACHE = standInCache();
    process.env.REVNET_STANDIN_HEADER = join(nativeFolder(), "standin", "host.h");
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
