import { defaultConfig } from "@revnet-zero/train";
import { type CommandName, type CommandSpec, commandTable, type OptionSpec } from "./commands.ts";
import { fieldTable } from "./config/fields.ts";
import { kebab } from "./kebab.ts";

/** The help of the program, or of one command; at most 120 columns wide. */
export function renderHelp(command?: CommandName): string {
  return command === undefined ? programHelp() : commandHelp(command, commandTable[command]!);
}

function programHelp(): string {
  return [
    "RevNet-Zero: train reversible networks in activation memory that does not grow with depth.",
    "",
    "Usage: revnet-zero <command> [flags]",
    "",
    "Commands:",
    ...columns(Object.entries(commandTable).map(([name, { what }]) => [name, what])),
    "",
    "Flags:",
    ...columns([
      ["--help", "this text, or after a command its flags"],
      ["--version", "the version"],
    ]),
    "",
    "New here? Run: revnet-zero demo",
    "",
  ].join("\n");
}

function commandHelp(command: string, { what, operand, takesConfig, options }: CommandSpec): string {
  const shown = operand?.isRequired ? ` <${operand.name}>` : operand === undefined ? "" : ` [${operand.name}]`;
  const flags = Object.entries<OptionSpec>(options).map(
    ([name, spec]) =>
      [`--${kebab(name)}${spec.placeholder === undefined ? "" : ` ${spec.placeholder}`}`, spec.what] as const,
  );
  const lines = [what, "", `Usage: revnet-zero ${command}${shown} [flags]`, ""];
  if (operand !== undefined) lines.push(`  ${operand.name}: ${operand.what}`, "");
  lines.push("Flags:", ...columns([...flags, ["--help", "this text"]]), "");
  if (takesConfig) {
    lines.push("Configuration, over what the file says (`--model.numLayers 8`; switches: `--no-model.tieEmbeddings`):");
    const defaults = defaultConfig as unknown as Record<string, Readonly<Record<string, unknown>>>;
    for (const [section, keys] of Object.entries(fieldTable)) {
      const rows = Object.entries(keys).map(([name, field]) => {
        const value = defaults[section]?.[name];
        const ending = value === undefined ? "" : `; default ${Array.isArray(value) ? value.join() : value}`;
        return [
          `--${section}.${name}`,
          `${field.what} (${field.choices?.join("|") ?? field.accepts}${ending})`,
        ] as const;
      });
      lines.push("", ...columns(rows));
    }
    lines.push("");
  }
  return lines.join("\n");
}

const WIDTH = 120;

/** Two columns; what is too long for the right one goes on in the next row. */
function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.flatMap(([left, right]) =>
    wrap(right, WIDTH - width - 4).map((part, i) => `  ${(i === 0 ? left : "").padEnd(width)}  ${part}`),
  );
}

/** Breaks after spaces, and after the bars between choices. */
function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const part of text.split(/(?<=[ |])/)) {
    if (`${lines.at(-1)}${part}`.trimEnd().length > width) lines.push("");
    lines[lines.length - 1] += part;
  }
  return lines.map((line) => line.trimEnd());
}
