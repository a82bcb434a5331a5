import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildAddon, buildStandIn } from "../src/build.ts";
import { nativeFolder } from "../src/device/addon.ts";

/** Builds addon and stand-in into a folder of their own kind and turns the environment to them. Returns why it cannot. */
export function useStandIn(): string | undefined {
  if (process.platform !== "linux") return "the stand-in for the CUDA driver needs Linux";
  try {
    buildAddon();
    const driver = buildStandIn();
    process.env["REVNET_CUDA_DRIVER"] = driver;
    process.env["REVNET_CUDA_CACHE"] ??= join(tmpdir(), "revnet-standin-cache");
    process.env["REVNET_STANDIN_HEADER"] = join(nativeFolder(), "standin", "host.h");
    process.env["REVNET_CUDA_LIBRARIES"] = dirname(driver);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
