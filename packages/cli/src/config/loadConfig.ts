import { readFile } from "node:fs/promises";
import { brokenRules, defaultConfig, type TrainConfig } from "@revnet-zero/train";
import type { z } from "zod";
import { didYouMean, suggest } from "../suggest.ts";
import { ConfigError, type ConfigProblem } from "./configError.ts";
import { allKeys, configSchema, fieldTable, findField } from "./fields.ts";
import { parseYaml, type YamlSource } from "./yamlSource.ts";

/** One value from the command line: `--model.numLayers 8`. */
export interface ConfigOverride {
  /** `section.key`, one of the known ones. */
  readonly key: string;
  readonly value: unknown;
  /** As it was typed, for errors. */
  readonly flag: string;
}

type Sections = Record<string, unknown>;

/**
 * The configuration of a run: defaults, then the file, then the command line.
 * @throws ConfigError listing every problem with its line or flag and the values that work.
 */
export async function loadConfig(
  file: string | undefined,
  overrides: readonly ConfigOverride[] = [],
): Promise<TrainConfig> {
  if (file === undefined) return parseConfig("", "command line", overrides);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const problem =
      code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "is a folder" : `cannot be read (${message})`;
    const remedy = "name a YAML file; `revnet-zero train --print-config > config.yaml` makes one";
    throw new ConfigError(file, [{ where: file, problem, remedy }], { cause: error });
  }
  return parseConfig(text, file, overrides);
}

/** `loadConfig` of a text already read. */
export function parseConfig(text: string, file: string, overrides: readonly ConfigOverride[] = []): TrainConfig {
  const yaml = parseYaml(text, file);
  const locate = (path: readonly PropertyKey[]): string => {
    const flag = overrides.findLast(({ key }) => key === path.slice(0, 2).join("."))?.flag;
    const line = flag === undefined ? yaml.lineOf(path) : undefined;
    return flag ?? (line === undefined ? "default" : `line ${line}`);
  };
  const merged = override(mergeDefaults(yaml, file), overrides);
  const parsed = configSchema.safeParse(merged, { reportInput: true });
  if (!parsed.success) throw new ConfigError(file, explain(parsed.error.issues, merged, locate));
  const broken = brokenRules(parsed.data);
  if (broken.length > 0) {
    const problems = broken.map(({ keys, problem, hint }) => {
      // The first of the values that somebody wrote is the one to look at.
      const places = keys.map((key) => locate(key.split(".")));
      return { where: places.find((place) => place !== "default") ?? "default", problem, remedy: hint };
    });
    throw new ConfigError(file, problems);
  }
  return parsed.data;
}

/** The file's values over the defaults, section by section. What is no section stays, for the schema to refuse. */
function mergeDefaults({ value }: YamlSource, file: string): Sections {
  const given = value ?? {};
  if (typeof given !== "object" || Array.isArray(given)) {
    const remedy = `the sections are ${Object.keys(fieldTable).join(", ")}`;
    throw new ConfigError(file, [{ where: "line 1", problem: `the file holds ${show(given)}, not sections`, remedy }]);
  }
  const defaults: Sections = { ...defaultConfig };
  const merged = Object.entries(given).map(([section, keys]) => {
    const known = Object.hasOwn(defaults, section) ? (defaults[section] as Sections) : undefined;
    // `model:` with every key below commented out.
    if (known !== undefined && keys === null) return [section, known];
    const isSection = known !== undefined && typeof keys === "object" && !Array.isArray(keys);
    return [section, isSection ? { ...known, ...withoutUnset(section, keys) } : keys];
  });
  // From entries: assigning to a key named __proto__ would do something else.
  return { ...defaults, ...Object.fromEntries(merged) };
}

/** An optional key set to null is one left out. */
function withoutUnset(section: string, keys: Sections): Sections {
  return Object.fromEntries(
    Object.entries(keys).filter(([name, value]) => value !== null || !findField(`${section}.${name}`)?.isOptional),
  );
}

function override(config: Sections, overrides: readonly ConfigOverride[]): Sections {
  const result = { ...config };
  for (const { key, value } of overrides) {
    const [section = "", name = ""] = key.split(".");
    const keys = result[section];
    if (typeof keys === "object" && !Array.isArray(keys)) result[section] = { ...keys, [name]: value };
  }
  return result;
}

/** What zod found, in the words of the field table; one problem a key. */
function explain(
  issues: readonly z.core.$ZodIssue[],
  config: Sections,
  locate: (path: readonly PropertyKey[]) => string,
): ConfigProblem[] {
  const problems = new Map<string, ConfigProblem>();
  for (const issue of issues) {
    if (issue.code === "unrecognized_keys") {
      for (const name of issue.keys) {
        const key = [...issue.path, name].join(".");
        problems.set(key, {
          where: locate([...issue.path, name]),
          problem: `unknown key ${key}`,
          remedy: remedyFor(key),
        });
      }
      continue;
    }
    const path = issue.path.slice(0, 2);
    const [section = "", name] = path.map(String);
    const key = path.join(".");
    const value = name === undefined ? config[section] : (config[section] as Sections)[name];
    const field = findField(key);
    const choices = typeof value === "string" ? didYouMean(value, field?.choices ?? []) : "";
    const remedy =
      field === undefined
        ? `it is a section of keys: ${Object.keys(fieldTable[section] ?? {}).join(", ")}`
        : `accepted: ${field.accepts}${choices}`;
    problems.set(key, { where: locate(path), problem: `${key} is ${show(value)}`, remedy });
  }
  return [...problems.values()];
}

/** What an unknown key may have been meant to be: a near one in its section, or one of that name in another. */
function remedyFor(key: string): string {
  const [section = "", name] = key.split(".");
  const keys = Object.keys((name === undefined ? fieldTable : fieldTable[section]) ?? {});
  const elsewhere = allKeys.find((known) => known.split(".")[1] === (name ?? section));
  const meant = suggest(name ?? section, keys) ?? elsewhere;
  return `${meant === undefined ? "" : `did you mean "${meant}"? `}known here: ${keys.join(", ")}`;
}

/** A value as YAML would show it, cut short. */
function show(value: unknown): string {
  if (value === null) return "empty";
  // JSON has no infinities, YAML does.
  const text = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
