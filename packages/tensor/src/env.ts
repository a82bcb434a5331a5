export type EnvironmentVariable =
  | "REVNET_DEBUG"
  | "REVNET_CHECK_NAN"
  | "REVNET_LEAKS"
  | "REVNET_MEMORY_LIMIT"
  | "REVNET_THREADS"
  | "REVNET_TIER"
  | "REVNET_SEED"
  | "REVNET_PYTHON";

/** Every environment variable of the library, declared once; docs/env.md is generated from this table. */
export const environment: {
  readonly [K in EnvironmentVariable]: { readonly default: string; readonly what: string };
} = {
  REVNET_DEBUG: { default: "0", what: "1 prints a line an op (shape, bytes, time); 2 adds module paths" },
  REVNET_CHECK_NAN: {
    default: "0",
    what: "1 checks every op's output for NaN and infinity and names the first op and layer",
  },
  REVNET_LEAKS: { default: "0", what: "1 records where live tensors were made, for leak and memory reports (slow)" },
  REVNET_MEMORY_LIMIT: { default: "", what: "bytes the ledger may hold before OutOfMemoryError; empty means no limit" },
  REVNET_THREADS: { default: "", what: "threads of the CPU backend; empty means as many as the machine runs at once" },
  REVNET_TIER: {
    default: "",
    what: "kernels of the CPU backend: wide, relaxed, simd or scalar; empty means the best that runs here",
  },
  REVNET_SEED: { default: "", what: "base seed of the property tests; empty means fast-check draws one and prints it" },
  REVNET_PYTHON: { default: "", what: "Python interpreter with PyTorch, for the optional comparisons" },
};

/** The variable's value, or its default. Browsers have no environment and always get the default. */
export function readEnvironment(name: EnvironmentVariable): string {
  const fromProcess = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name];
  return fromProcess ?? environment[name].default;
}
