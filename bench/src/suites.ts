import type { Suite } from "./suite.ts";

/** Every suite by name, loaded when it is asked for: a suite's own dependencies cost nobody else's start-up. */
export const suites: Readonly<Record<string, () => Promise<Suite>>> = {
  attention: async () => (await import("./attention/suite.ts")).attention,
  compile: async () => (await import("./compile/suite.ts")).compile,
  depth: async () => (await import("./depth/suite.ts")).depth,
  exactness: async () => (await import("./exactness/suite.ts")).exactness,
  flows: async () => (await import("./flows/suite.ts")).flows,
  kernels: async () => (await import("./kernels/suite.ts")).kernels,
  "long-context": async () => (await import("./longContext/suite.ts")).longContext,
  matmul: async () => (await import("./matmul/suite.ts")).matmul,
  ops: async () => (await import("./ops/suite.ts")).ops,
  overhead: async () => (await import("./overhead/suite.ts")).overhead,
  quality: async () => (await import("./quality/suite.ts")).quality,
  regret: async () => (await import("./regret/suite.ts")).regret,
  scheduler: async () => (await import("./scheduler/suite.ts")).scheduler,
  startup: async () => (await import("./startup/suite.ts")).startup,
  step: async () => (await import("./step/suite.ts")).step,
};
