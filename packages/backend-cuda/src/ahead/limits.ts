import { readFileSync } from "node:fs";
import { join } from "node:path";
import { nativeFolder } from "../device/addon.ts";
import type { Resources } from "./nvcc.ts";

/** What a kernel may take beyond the rule: no spilled register, no stack. */
export interface Limit {
  readonly registers?: number;
  readonly stackBytes?: number;
  readonly spillBytes?: number;
  readonly why: string;
}

/** Beyond this, a block of 256 threads has a multiprocessor to itself. */
const MOST_REGISTERS = 168;

export const readLimits = (): Readonly<Record<string, Limit>> =>
  JSON.parse(readFileSync(join(nativeFolder(), "limits.json"), "utf8")) as Record<string, Limit>;

/** What of a kernel is over its limit, in words. */
export function overLimit(one: Resources, limits: Readonly<Record<string, Limit>>): string[] {
  const { registers = MOST_REGISTERS, stackBytes = 0, spillBytes = 0 } = limits[one.kernel] ?? {};
  const most = { registers, stackBytes, spillBytes };
  return (Object.keys(most) as (keyof typeof most)[])
    .filter((what) => !(one[what] <= most[what]))
    .map((what) => `${one.kernel} on ${one.architecture}: ${one[what]} ${what}, at most ${most[what]}`);
}
