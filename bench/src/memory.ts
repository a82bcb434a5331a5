import { readFileSync } from "node:fs";

/**
 * The largest number of bytes this process ever had in memory. From the kernel's own record where there is one: on
 * Linux getrusage starts with what the parent had when it made this process.
 */
export function maximumResidentBytes(): number {
  try {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    if (kibibytes !== undefined) return Number(kibibytes) * 1024;
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024;
}

/** Collects garbage, so that the last measurement's does not fall into this one. */
export function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error("start with node --expose-gc");
  globalThis.gc();
}
