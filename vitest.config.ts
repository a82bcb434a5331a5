import { defineConfig } from "vitest/config";

// Packages resolve to their sources, so nothing has to be built before a test runs.
const conditions = ["@revnet-zero/source"];

// `--mode deep` runs what is too slow for every change, `--mode release` what users get: packed packages, examples; `--mode gl` what needs an
// X server and Node 20, for which the package gl is built; `--mode gallery` the web page, end to end. Package tests that run in a browser have
// a configuration of their own.
const include: Record<string, readonly string[]> = {
  test: ["packages/*/test/**/*.test.ts", "bench/test/**/*.test.ts"],
  deep: ["packages/*/test/**/*.deep.ts", "bench/test/**/*.deep.ts"],
  release: ["packages/*/test/**/*.release.ts"],
  gl: ["packages/*/test/**/*.gl.ts", "bench/test/**/*.gl.ts"],
  gallery: ["examples/gallery/test/**/*.e2e.ts"],
};

export default defineConfig(({ mode }) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    setupFiles: mode === "test" ? ["./packages/tooling/src/property-seed.ts"] : [],
    include: [...(include[mode] ?? [`no tests in mode ${mode}`])],
    // Workers and child processes that a test starts resolve packages the same way.
    execArgv: conditions.map((condition) => `--conditions=${condition}`),
    // A process a file: engines, WASM heaps and worker threads of one file cannot reach another's.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: mode === "test" ? 30_000 : 600_000,
    hookTimeout: mode === "test" ? 30_000 : 600_000,
    reporters: ["default", "./packages/tooling/src/closing-line.ts"],
  },
}));
