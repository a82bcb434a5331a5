import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, statSync, symlinkSync } from "node:fs";
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

const compiler = (): string => process.env.CXX ?? "g++";

const changedAt = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Compiles a folder into a shared library, unless that is newer than every file in it. */
function compile(folder: string, options: readonly string[], to: string): string {
  const files = readdirSync(folder).map((name) => join(folder, name));
  if (changedAt(to) > Math.max(...files.map(changedAt))) return to;
  const sources = files.filter((path) => path.endsWith(".cc"));
  mkdirSync(dirname(to), { recursive: true });
  // Beside it and renamed: whoever builds at the same time finds all of it or nothing.
  const draft = `${to}.${process.pid}`;
  const all = ["-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", ...options];
  try {
    execFileSync(compiler(), [...all, ...sources, "-ldl", "-o", draft], {
      stdio: ["ignore", "pipe", "pipe"],
      encoding: "utf8",
    });
    renameSync(draft, to);
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
 * Compiles the stand-in for NVIDIA's driver, NVRTC, NCCL and, in a folder of its own, cuBLASLt, for tests on machines without a
 * GPU: one library under the names of all. Gives the driver's file.
 */
export function buildStandIn(folder: string = join(nativeFolder(), "out", "standin")): string {
  const driver = compile(join(nativeFolder(), "standin"), ["-O1"], join(folder, "libcuda.so.1"));
  for (const name of ["libnvrtc.so.13", "libnccl.so.2"])
    if (!existsSync(join(folder, name))) symlinkSync("libcuda.so.1", join(folder, name));
  // Apart: without it our own products run, which is what most tests are about.
  const products = join(folder, "products", "libcublasLt.so.13");
  mkdirSync(dirname(products), { recursive: true });
  if (!existsSync(products)) symlinkSync("../libcuda.so.1", products);
  return driver;
}
