import { expect } from "vitest";
import { CpuBackend, type CpuOptions, type TierName } from "../src/index.ts";

/** A backend of a tier; undefined where this machine has none, and then the error says that and nothing else. */
export function backendOf(tier: TierName, options: Omit<CpuOptions, "tier"> = {}): CpuBackend | undefined {
  try {
    return new CpuBackend({ ...options, tier });
  } catch (error) {
    expect((error as Error).message).toMatch(/cannot run here/);
    return undefined;
  }
}
