import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BackendError, readEnvironment } from "@revnet-zero/tensor";
import type { NativeCuda } from "./binding.ts";

/** Where the addon and the kernels lie: in the repository, or beside this package where it was packed. */
export function nativeFolder(): string {
  const named = readEnvironment("REVNET_CUDA_ADDON");
  if (named !== "") return dirname(dirname(named));
  const written = fileURLToPath(new URL("../../../../native-cuda", import.meta.url));
  return existsSync(join(written, "kernels")) ? written : fileURLToPath(new URL("../../native", import.meta.url));
}

/** The compiled addon's file. */
const addonFile = (): string => readEnvironment("REVNET_CUDA_ADDON") || join(nativeFolder(), "out", "revnet_cuda.node");

let loaded: NativeCuda | undefined;

/** Loads the addon; what it needs of NVIDIA's is opened later. */
export function loadAddon(): NativeCuda {
  if (loaded !== undefined) return loaded;
  const file = addonFile();
  const hint = "build it with a C++ compiler: npx revnet-zero-cuda-build, in the repository npm run cuda:build";
  if (!existsSync(file)) throw new BackendError("cuda", `the addon is not built: there is no ${file}`, hint);
  try {
    loaded = createRequire(import.meta.url)(file) as NativeCuda;
    return loaded;
  } catch (error) {
    throw new BackendError("cuda", `the addon ${file} does not load: ${(error as Error).message}`, hint, {
      cause: error,
    });
  }
}
