import { parseArgs } from "node:util";
import { type CommandName, type CommandOptions, type CommandSpec, commandTable, type OptionSpec } from "./commands.ts";
import { allKeys, type Field, findField } from "./config/fields.ts";
import type { ConfigOverride } from "./config/loadConfig.ts";
import { renderHelp } from "./help.ts";
import { kebab } from "./kebab.ts";
import { didYouMean } from "./suggest.ts";
import { UsageError } from "./usageError.ts";

/** What a command line asks for. */
export type CommandLine =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" }
  | {
      readonly [C in CommandName]: {
        readonly kind: "run";
        readonly command: C;
        readonly options: CommandOptions[C];
        /** `--section.key value` flags, for `loadConfig`. */
        readonly overrides: readonly ConfigOverride[];
      };
    }[CommandName];

/**
 * Reads a command line, `process.argv.slice(2)`. Checks everything but the configuration as a whole, which
 * `loadConfig` does.
 *
 * @throws UsageError that names the unknown or wrong word, and the one that was probably meant.
 */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const [command, ...rest] = argv;
  if (command === undefined || command === "--help" || command === "-h" || command === "help") {
    const about = command === "help" && rest[0] !== undefined ? findCommand(rest[0]) : undefined;
    return { kind: "help", text: renderHelp(about) };
  }
  if (command === "--version" || command === "-v" || command === "version") return { kind: "version" };
  findCommand(command);
  return parseCommand(command as CommandName, rest);
}

function findCommand(name: string): CommandName {
  if (Object.hasOwn(commandTable, name)) return name as CommandName;
  const names = Object.keys(commandTable);
  const word = name.startsWith("-") ? `"${name}" comes before a command` : `there is no command "${name}"`;
  throw new UsageError("revnet-zero", word, `the commands are ${names.join(", ")}${didYouMean(name, names)}`);
}

/** A flag as it may be typed, without the dashes: of the command itself, or of the configuration. */
type Flag = { readonly option: string; readonly spec: OptionSpec } | { readonly key: string; readonly field: Field };

function parseCommand(command: CommandName, argv: readonly string[]): CommandLine {
  const spec = commandTable[command]!;
  const flags = flagsOf(spec);
  const isSwitch = (flag: Flag): boolean =>
    "spec" in flag ? flag.spec.placeholder === undefined : flag.field.isSwitch;
  const { tokens } = parseArgs({
    args: [...argv],
    tokens: true,
    allowPositionals: true,
    // The tokens are checked below, for better words and suggestions than strict mode has.
    strict: false,
    options: {
      help: { type: "boolean", short: "h" },
      ...Object.fromEntries(
        [...flags].map(([name, flag]) => [name, { type: isSwitch(flag) ? ("boolean" as const) : ("string" as const) }]),
      ),
    },
  });
  const options: Record<string, unknown> = {};
  const overrides: ConfigOverride[] = [];
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      takeOperand(command, spec, token.value, options);
      continue;
    }
    const { name, rawName, value } = token;
    if (name === "help") return { kind: "help", text: renderHelp(command) };
    const isNegated = name.startsWith("no-") && !flags.has(name);
    const flag = flags.get(isNegated ? name.slice(3) : name);
    if (flag === undefined || (isNegated && !isSwitch(flag))) throw unknownFlag(command, rawName, [...flags.keys()]);
    const typed = isSwitch(flag) ? switchValue(rawName, isNegated, value) : value;
    const accepts = "spec" in flag ? flag.spec.accepts : flag.field.accepts;
    // `--data.source --train.steps 5`: the next flag is not the value. A negative number may be.
    const isNextFlag = typed?.startsWith("-") && token.inlineValue === false && Number.isNaN(Number(typed));
    if (typed === undefined || isNextFlag) {
      throw new UsageError(command, `${rawName} needs a value`, `${accepts}, as in ${rawName} ${exampleOf(flag)}`);
    }
    if ("field" in flag) {
      const value = flag.field.parse(typed);
      overrides.push({ key: flag.key, value, flag: rawName });
      continue;
    }
    const parsed = flag.spec.parse(typed);
    if (parsed === undefined)
      throw new UsageError(command, `${rawName} is "${typed}"`, `accepted: ${flag.spec.accepts}`);
    options[flag.option] = parsed;
  }
  if (spec.operand?.isRequired && options[spec.operand.name] === undefined) {
    const hint = `write: revnet-zero ${command} <${spec.operand.name}>, ${spec.operand.what}`;
    throw new UsageError(command, `the ${spec.operand.name} is missing`, hint);
  }
  return { kind: "run", command, options, overrides } as CommandLine;
}

function flagsOf(spec: CommandSpec): ReadonlyMap<string, Flag> {
  const flags = new Map<string, Flag>();
  for (const [option, entry] of Object.entries<OptionSpec>(spec.options))
    flags.set(kebab(option), { option, spec: entry });
  if (spec.takesConfig) for (const key of allKeys) flags.set(key, { key, field: findField(key)! });
  return flags;
}

function switchValue(rawName: string, isNegated: boolean, value: string | undefined): string {
  if (!isNegated) return value ?? "true";
  if (value === undefined) return "false";
  throw new UsageError("revnet-zero", `${rawName}=${value} says it twice`, `write ${rawName} alone`);
}

function takeOperand(command: CommandName, spec: CommandSpec, word: string, options: Record<string, unknown>): void {
  const { operand } = spec;
  if (operand === undefined || options[operand.name] !== undefined) {
    const takes = operand === undefined ? "no words beside flags" : `one ${operand.name}`;
    throw new UsageError(
      command,
      `"${word}" is one word too many`,
      `${command} takes ${takes}; --help shows its flags`,
    );
  }
  options[operand.name] = word;
}

function unknownFlag(command: CommandName, rawName: string, known: readonly string[]): UsageError {
  const name = rawName.replace(/^-+(no-)?/, "");
  // A key typed without its section is meant with it.
  const inSection = known.find((flag) => flag.split(".")[1] === name);
  const meant =
    inSection === undefined
      ? didYouMean(rawName, ["--help", ...known.map((flag) => `--${flag}`)])
      : `; did you mean "--${inSection}"?`;
  return new UsageError(
    command,
    `unknown flag ${rawName}`,
    `\`revnet-zero ${command} --help\` lists the flags${meant}`,
  );
}

function exampleOf(flag: Flag): string {
  if ("spec" in flag) return flag.spec.placeholder ?? "true";
  return flag.field.choices?.[0] ?? "<value>";
}
