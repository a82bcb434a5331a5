import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { BackendError, readEnvironment } from "@revnet-zero/tensor";

// NVIDIA's libraries, none of which is linked: each is looked for when it is first used.

/** What of NVIDIA's may be asked for, by what it is used for. */
export type LibraryName = "nvrtc" | "cublasLt" | "cudnn" | "nccl";

/** What brings each of them to a machine without the toolkit. */
const packages: Readonly<Record<LibraryName, string>> = {
  nvrtc: "nvidia-cuda-nvrtc",
  cublasLt: "nvidia-cublas",
  cudnn: "nvidia-cudnn-cu13",
  nccl: "nvidia-nccl-cu13",
};

/** Majors of those that do not count with CUDA: what their functions are written against. */
const ownVersions: Partial<Record<LibraryName, readonly number[]>> = { cudnn: [9], nccl: [2] };

/** The folders of NVIDIA's Python packages, which bring whole libraries. Asked of Python once, and only when needed. */
const pythonFolders = once((): string[] => {
  const script = [
    "import glob, os, site, sys, sysconfig",
    "paths = sysconfig.get_paths()",
    "roots = [paths['purelib'], paths['platlib'], *site.getsitepackages(), site.getusersitepackages(), *sys.path]",
    "found = [d for r in dict.fromkeys(roots) for d in sorted(glob.glob(os.path.join(r, 'nvidia', '*', 'lib')))]",
    "print('\\n'.join(dict.fromkeys(found)))",
  ].join("\n");
  try {
    return execFileSync(readEnvironment("REVNET_PYTHON") || "python3", ["-c", script], {
      encoding: "utf8",
      timeout: 20_000,
      stdio: ["ignore", "pipe", "ignore"],
    })
      .split("\n")
      .filter((line) => line !== "");
  } catch {
    return []; // no Python: the other places remain
  }
});

const toolkitFolders = [
  "/usr/local/cuda/lib64",
  "/usr/local/nvidia/lib64",
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/wsl/lib",
];

/** Where NVIDIA's headers are, for whoever compares them with ours. */
export const headerFolders = (): string[] => [
  "/usr/local/cuda/include",
  "/usr/local/cuda-13.0/include",
  ...named().map((folder) => join(dirname(folder), "include")),
  ...pythonFolders().map((folder) => join(dirname(folder), "include")),
];

const named = (): string[] => readEnvironment("REVNET_CUDA_LIBRARIES").split(":").filter(Boolean);

/**
 * Files to try, best first: those in the folders that REVNET_CUDA_LIBRARIES names; of the usual ones and Python's packages the newest,
 * as PyTorch does beside an older system's; and at last the name alone, which the dynamic linker looks up. `major` is the driver's: an
 * older one cannot load newer kernels.
 */
function* libraryFiles(name: LibraryName, major: number): Generator<string> {
  const versions = ownVersions[name] ?? Array.from({ length: Math.max(0, major - 11) }, (_, i) => major - i);
  const files = versions.map((v) => `lib${name}.so.${v}`);
  const inFolders = (folders: readonly string[]): string[] =>
    files.flatMap((file) => folders.map((folder) => join(folder, file))).filter((path) => existsSync(path));
  yield* inFolders(named());
  yield* newestFirst(name, inFolders([...toolkitFolders, ...pythonFolders()]));
  yield* files;
}

/** Two versions of a library in one process would find each other's parts: which one serves is known before any is opened. */
export function newestFirst(name: LibraryName, paths: readonly string[]): string[] {
  const compared = new Intl.Collator("en", { numeric: true });
  const found = paths.map((path) => ({ path, version: versionOf(name, path) }));
  return found.sort((a, b) => compared.compare(b.version, a.version)).map(({ path }) => path);
}

/** 9.14.0, after the file that a link leads to; of a Python package's file, which says 9 alone, after the package. */
function versionOf(name: LibraryName, path: string): string {
  const ofFile = /\.so\.([\d.]+)$/.exec(realpathSync(path))?.[1] ?? "";
  if (ofFile.includes(".")) return ofFile;
  const ofPackage = new RegExp(
    `^${packages[name].replace(/-cu\d+$/, "").replaceAll("-", "_")}(_cu\\d+)?-([\\d.]+)\\.dist-info$`,
  );
  const site = dirname(dirname(dirname(dirname(path))));
  const beside = existsSync(site) ? readdirSync(site) : [];
  return beside.map((entry) => ofPackage.exec(entry)?.[2]).find((version) => version !== undefined) ?? ofFile;
}

/** Opens the first library that opens. */
export function openLibrary<T>(
  name: LibraryName,
  major: number,
  open: (path: string) => T,
): { path: string; value: T } {
  const tried: string[] = [];
  for (const path of libraryFiles(name, major)) {
    try {
      return { path, value: open(path) };
    } catch (error) {
      tried.push((error as Error).message);
    }
  }
  throw new BackendError(
    "cuda",
    `NVIDIA's lib${name} is nowhere to be found${tried.map((t) => `\n    ${t}`).join("")}`,
    `install the CUDA toolkit, or: pip install ${packages[name]}; or name its folder by REVNET_CUDA_LIBRARIES`,
  );
}

/** A library's version and file, or why it does not serve. */
export type LibraryState = { readonly version: number; readonly path: string } | { readonly missing: string };

/** What opening a library comes to: `open` gives its file and version. */
export function stateOf(open: () => { readonly path: string; readonly value: number }): LibraryState {
  try {
    const { path, value } = open();
    return { version: value, path };
  } catch (error) {
    if (error instanceof BackendError) return { missing: error.message };
    throw error;
  }
}

/** The built-in functions that NVRTC opens by name, and finds only if they are open already. */
export function builtinsBeside(nvrtc: string): string {
  const folder = dirname(nvrtc);
  if (folder === ".") return "";
  const major = /\.so\.(\d+)/.exec(nvrtc)?.[1] ?? "13";
  for (let minor = 9; minor >= 0; minor--) {
    const path = join(folder, `libnvrtc-builtins.so.${major}.${minor}`);
    if (existsSync(path)) return path;
  }
  return "";
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
