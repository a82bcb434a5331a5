import { formatBytes, formatMs } from "@revnet-zero/plot";
import { categories, describe } from "@revnet-zero/tensor";
import type { MemoryProfile } from "./memoryProfile.ts";
import type { LiveTensor, Usage } from "./tables.ts";

const MOST = 10;

/** The profile as tables in text. */
export function profileText(profile: MemoryProfile): string {
  const { peakBytes, peakMs, timeMs, peakPhase, activationBytes, atPeak, reasons } = profile;
  const parts = categories.filter((c) => atPeak[c] > 0).map((c) => `${c} ${formatBytes(atPeak[c])}`);
  return [
    `peak ${formatBytes(peakBytes)} after ${formatMs(peakMs)} of ${formatMs(timeMs)}, in ${peakPhase}; activations ${formatBytes(activationBytes)}`,
    `  ${parts.join(", ")}`,
    "",
    "why memory did not go down",
    ...reasons
      .slice(0, MOST)
      .map(({ bytes, what, hint }) => `  ${formatBytes(bytes).padStart(9)}  ${what}\n${" ".repeat(13)}${hint}`),
    "",
    ...usageTable("phase", profile.byPhase()),
    "",
    ...usageTable("module", topModules(profile)),
    "",
    ...usageTable("op", profile.byOp().slice(0, MOST)),
    "",
    "largest tensors at the peak",
    ...columns(profile.largest(MOST).map((t) => [formatBytes(t.bytes), describe(t), t.category, placeOf(t)])),
  ].join("\n");
}

/** Modules joined so far that a table has few lines: the deepest level of paths that still does. */
export function topModules(profile: MemoryProfile, most = 14): Usage[] {
  let found = profile.byModule({ depth: 1 });
  for (let depth = 2; depth <= 8; depth++) {
    const finer = profile.byModule({ depth });
    if (finer.length > most) break;
    found = finer;
  }
  return found.slice(0, most);
}

/** Where a tensor was made, in words. */
export function placeOf({ name, op, module, phase, isOlder, callSite }: LiveTensor): string {
  if (name !== undefined) return name;
  if (isOlder) return `before the profile${callSite === undefined ? "" : ` ${callSite}`}`;
  const what = op === "" ? "the program" : op;
  return `${what}${module === "" ? "" : ` in ${module}`}, ${phase}${callSite === undefined ? "" : ` ${callSite}`}`;
}

function usageTable(what: string, usages: readonly Usage[]): string[] {
  const header = [what, "at peak", "allocated", "ops", "time"];
  const rows = usages.map(({ name, peakBytes, allocatedBytes, ops, timeMs }) => [
    name === "" ? "(outside)" : name,
    formatBytes(peakBytes),
    formatBytes(allocatedBytes),
    String(ops),
    formatMs(timeMs),
  ]);
  return columns([header, ...rows], { isNumeric: true }).map((line, i) => (i === 0 ? line.slice(2) : line));
}

function columns(rows: readonly (readonly string[])[], { isNumeric = false } = {}): string[] {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  return rows.map((row, i) => {
    const cells = row.map((cell, c) => {
      const width = widths[c]! + (isNumeric && i === 0 && c === 0 ? 2 : 0);
      return isNumeric && c > 0 ? cell.padStart(width) : cell.padEnd(width);
    });
    return `  ${cells.join("  ")}`.trimEnd();
  });
}
