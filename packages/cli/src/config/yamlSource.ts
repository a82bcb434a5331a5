import { isAlias, isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { ConfigError } from "./configError.ts";

/** A YAML text as plain values, and the way back to its lines. */
export interface YamlSource {
  readonly value: unknown;
  /** Line (from 1) of a key; undefined if it is not in the text. */
  readonly lineOf: (path: readonly PropertyKey[]) => number | undefined;
}

/** @throws ConfigError with the line where the text is no YAML, or a key is there twice. */
export function parseYaml(text: string, file: string): YamlSource {
  const lines = new LineCounter();
  // What is odd but no error, like a key that is a list, is told as an unknown key and not on stderr besides.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
  const problems = [...document.errors, ...document.warnings].map(({ message, pos }) => {
    const { line, col } = lines.linePos(pos[0]);
    const remedy = /unique/.test(message) ? "keep one of them" : "YAML is `key: value`, one a line, indented by spaces";
    return { where: `line ${line}, column ${col}`, problem: message, remedy };
  });
  if (problems.length > 0) throw new ConfigError(file, problems);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    const remedy = "write the values out instead of aliases (*name)";
    throw new ConfigError(file, [{ where: "line 1", problem: (error as Error).message, remedy }], { cause: error });
  }
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    let node: Node | null = document.contents;
    let offset: number | undefined;
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document) ?? null;
      if (!isMap(node)) return undefined;
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) return undefined;
      offset = (pair.key as Node).range?.[0];
      node = pair.value as Node | null;
    }
    return offset === undefined ? undefined : lines.linePos(offset).line;
  };
  return { value, lineOf };
}
