import type { TrainConfig } from "@revnet-zero/train";
import { parse } from "yaml";
import { fieldTable } from "./fields.ts";

/**
 * A configuration as a YAML file that says what every key is for and takes; keys left out stand there as comments.
 * `parseConfig` of it gives the same configuration.
 */
export function renderConfig(config: TrainConfig): string {
  const sections = Object.entries(fieldTable).map(([section, keys]) => {
    const values = (config as unknown as Record<string, Readonly<Record<string, unknown>>>)[section] ?? {};
    const rows = Object.entries(keys).map(([name, field]) => {
      const value = values[name];
      const start = value === undefined ? `  # ${name}:` : `  ${name}: ${scalar(value)}`;
      return { start, comment: `${field.what} (${field.accepts})` };
    });
    const width = Math.max(...rows.map(({ start }) => start.length).filter((length) => length <= 40));
    return [`${section}:`, ...rows.map(({ start, comment }) => `${start.padEnd(width)}  # ${comment}`)].join("\n");
  });
  return `${sections.join("\n\n")}\n`;
}

/** A value on one line: words plain where YAML reads them as such, everything else as JSON, which YAML contains. */
function scalar(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(scalar).join(", ")}]`;
  const isPlain = typeof value === "string" && /^[\w./][\w./-]*$/.test(value) && parse(value) === value;
  return isPlain ? value : JSON.stringify(value);
}
