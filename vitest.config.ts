import { defineConfig } from "vitest/config";

// Packages resolve to their sources, so nothing has to be built before a test runs.
const conditions = ["@revnet-zero/source"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["packages/*/test/**/*.test.ts"],
    execArgv: conditions.map((condition) => `--conditions=${condition}`),
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    reporters: ["default"],
  },
});
