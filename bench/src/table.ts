import { formatBytes, formatFigure } from "@revnet-zero/plot";
import type { Cell, Row } from "./suite.ts";

/** Rows as aligned columns, in the order in which names first appear. Bytes and figures as people read them. */
export function formatRows(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [names, ...rows.map((row) => names.map((name) => formatCell(name, row[name])))];
  const widths = names.map((_, c) => Math.max(...cells.map((line) => line[c]!.length)));
  const isNumber = names.map((name) => rows.some((row) => typeof row[name] === "number"));
  return cells
    .map((line) =>
      line.map((cell, c) => (isNumber[c] ? cell.padStart(widths[c]!) : cell.padEnd(widths[c]!))).join("  "),
    )
    .map((line) => line.trimEnd())
    .join("\n");
}

function formatCell(name: string, value: Cell | undefined): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "boolean") return value ? "yes" : "NO";
  if (typeof value === "string") return value;
  return name.endsWith("Bytes") ? formatBytes(value) : formatFigure(value);
}
