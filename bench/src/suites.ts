import type { Suite } from "./suite.ts";

/** Every suite by name, loaded when it is asked for: a suite's own dependencies cost nobody else's start-up. */
export const suites: Readonly<Record<string, () => Promise<Suite>>> = {
  depth: async () => (await import("./depth/suite.ts")).depth,
  exactness: async () => (await import("./exactness/suite.ts")).exactness,
  matmul: async () => (await import("./matmul/suite.ts")).matmul,
  quality: async () => (await import("./quality/suite.ts")).quality,
  step: async () => (await import("./step/suite.ts")).step,
};
