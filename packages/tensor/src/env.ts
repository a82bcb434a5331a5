import { ValueError } from "./errors.ts";

export type EnvironmentVariable =
  | "REVNET_DEBUG"
  | "REVNET_CHECK_NAN"
  | "REVNET_LEAKS"
  | "REVNET_MEMORY_LIMIT"
  | "REVNET_THREADS"
  | "REVNET_TIER"
  | "REVNET_POISON"
  | "REVNET_SEED"
  | "REVNET_PYTHON"
  | "REVNET_DEVICE"
  | "REVNET_CUDA_ADDON"
  | "REVNET_CUDA_DRIVER"
  | "REVNET_CUDA_LIBRARIES"
  | "REVNET_CUDA_CACHE"
  | "REVNET_CUDA_ATTENTION"
  | "REVNET_SCHEDULER_CACHE";

interface Variable {
  readonly default: string;
  readonly what: string;
  /** The values it takes, and how to say so. Without it the reader checks: only the CPU backend knows its tiers. */
  readonly takes?: { readonly pattern: RegExp; readonly hint: string };
}

const isSwitch = { pattern: /^[01]$/, hint: "use 0 or 1" };

/** Every environment variable of the library, declared once; docs/generated/env.md is generated from this table. */
export const environment: { readonly [K in EnvironmentVariable]: Variable } = {
  REVNET_DEBUG: {
    default: "0",
    what: "1 prints a line an op (shape, bytes, time); 2 adds module paths",
    takes: { pattern: /^[012]$/, hint: "use 0, 1 or 2" },
  },
  REVNET_CHECK_NAN: {
    default: "0",
    what: "1 checks every op's output for NaN and infinity and names the first op and layer",
    takes: isSwitch,
  },
  REVNET_LEAKS: {
    default: "0",
    what: "1 records where live tensors were made, for leak and memory reports (slow)",
    takes: isSwitch,
  },
  REVNET_MEMORY_LIMIT: {
    default: "",
    what: "bytes the ledger may hold before OutOfMemoryError; empty means no limit",
    takes: { pattern: /^\d+(e\d+)?$/, hint: "use a number of bytes such as 2000000000 or 2e9, or leave it empty" },
  },
  REVNET_THREADS: { default: "", what: "threads of the CPU backend; empty means as many as the machine runs at once" },
  REVNET_TIER: {
    default: "",
    what: "kernels of the CPU backend: wide, relaxed, simd or scalar; empty means the best that runs here",
  },
  REVNET_POISON: {
    default: "0",
    what: "1 fills memory of the CPU backend with NaN before it is handed out and after it is freed",
    takes: isSwitch,
  },
  REVNET_SEED: {
    default: "",
    what: "base seed of the property tests; empty means fast-check draws one and prints it",
    takes: { pattern: /^-?\d+$/, hint: "use a whole number, as a failing test prints it, or leave it empty" },
  },
  REVNET_PYTHON: { default: "", what: "Python interpreter with PyTorch, for the optional comparisons" },
  REVNET_DEVICE: {
    default: "cpu",
    what: "what the revnet-zero command computes on where --device does not say: cpu or cuda",
    takes: { pattern: /^(cpu|cuda)$/, hint: "use cpu or cuda" },
  },
  REVNET_CUDA_ADDON: { default: "", what: "file of the compiled CUDA addon; empty means where cuda:build puts it" },
  REVNET_CUDA_DRIVER: {
    default: "",
    what: "file of NVIDIA's driver library; empty means libcuda.so.1, as the system finds it",
  },
  REVNET_CUDA_LIBRARIES: {
    default: "",
    what: "folders, with colons between, to look for NVIDIA's libraries in before the usual ones",
  },
  REVNET_CUDA_CACHE: {
    default: "",
    what: "folder of compiled CUDA kernels; empty means revnet-zero/cuda in the user's cache",
  },
  REVNET_CUDA_ATTENTION: {
    default: "auto",
    what: "what computes attention on CUDA: auto (cuDNN where it takes the shape) or own (never cuDNN)",
    takes: { pattern: /^(auto|own)$/, hint: "use auto or own" },
  },
  REVNET_SCHEDULER_CACHE: {
    default: "",
    what: "folder of what the memory scheduler learned of this machine's times; empty means revnet-zero/scheduler in the user's cache",
  },
};

/** The variable's value; its default where it is unset or empty. Browsers have no environment. */
export function readEnvironment(name: EnvironmentVariable): string {
  const { default: fallback, takes } = environment[name];
  const text = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name] ?? "";
  if (text === "") return fallback;
  if (takes === undefined || takes.pattern.test(text)) return text;
  throw new ValueError("environment", `${name} is "${text}"`, takes.hint);
}
