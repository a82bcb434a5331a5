import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { BackendError } from "@revnet-zero/tensor";
import { nativeFolder } from "./device/addon.ts";

/** Node's headers lie beside it, wherever it came from. */
function nodeHeaders(): string {
  const folder = join(dirname(dirname(process.execPath)), "include", "node");
  if (existsSync(join(folder, "node_api.h"))) return folder;
  throw new BackendError(
    "cuda",
    `Node's headers are not at ${folder}`,
    "use a Node that comes with its headers, as those of nodejs.org do",
  );
}

const compiler = (): string => process.env["CXX"] ?? "g++";

function compile(folder: string, options: readonly string[], to: string): string {
  const sources = readdirSync(folder).filter((name) => name.endsWith(".cc") && name !== "abi_check.cc");
  mkdirSync(dirname(to), { recursive: true });
  const all = ["-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", ...options];
  try {
    execFileSync(compiler(), [...all, ...sources.map((name) => join(folder, name)), "-ldl", "-o", to], {
      stdio: ["ignore", "pipe", "pipe"],
      encoding: "utf8",
    });
  } catch (error) {
    const { stderr, message } = error as { readonly stderr?: string; readonly message: string };
    const hint = "install a C++ compiler (g++), or name one by CXX";
    throw new BackendError("cuda", `${compiler()} does not build ${to}: ${stderr || message}`, hint, { cause: error });
  }
  return to;
}

/** Compiles the addon. Needs a C++ compiler, and nothing of NVIDIA's. */
export const buildAddon = (to: string = join(nativeFolder(), "out", "revnet_cuda.node")): string =>
  compile(join(nativeFolder(), "src"), ["-O2", "-DNAPI_VERSION=8", `-I${nodeHeaders()}`], to);

/**
 * Compiles the stand-in for NVIDIA's driver and NVRTC, for tests on machines without a GPU: one library under the names of
 * both. Gives the driver's file.
 */
export function buildStandIn(folder: string = join(nativeFolder(), "out", "standin")): string {
  const driver = compile(join(nativeFolder(), "standin"), ["-O1"], join(folder, "libcuda.so.1"));
  const nvrtc = join(folder, "libnvrtc.so.13");
  rmSync(nvrtc, { force: true });
  symlinkSync(driver, nvrtc);
  return driver;
}
