import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./packages.ts";

/** A program of the course in `examples/`. */
export interface Example {
  /** `01`, `02`, ... */
  readonly number: string;
  /** Its file's name. */
  readonly file: string;
  /** What the first lines of the file say: a sentence or a few. */
  readonly about: readonly string[];
  readonly lines: number;
}

/** The course, in its order. */
export function examples(): Example[] {
  return readdirSync(join(root, "examples"))
    .filter((name) => /^\d\d-.*\.ts$/.test(name))
    .sort()
    .map((file) => {
      const lines = readFileSync(join(root, "examples", file), "utf8")
        .trimEnd()
        .split("\n");
      const end = lines.findIndex((line) => !line.startsWith("// "));
      const about = lines.slice(0, end).map((line) => line.slice(3));
      return { number: file.slice(0, 2), file, about, lines: lines.length };
    });
}
