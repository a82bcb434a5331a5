import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../packages.ts";

/** A page written by hand with parts that are generated: between `<!-- generated: name -->` and `<!-- end -->`. */
export function withRegions(page: string, regions: Readonly<Record<string, () => string>>): string {
  return Object.entries(regions).reduce(
    (text, [name, render]) => {
      const pattern = new RegExp(`(<!-- generated: ${name} -->\\n)[\\s\\S]*?(\\n<!-- end -->)`);
      if (!pattern.test(text)) throw new Error(`${page} has no part <!-- generated: ${name} --> … <!-- end -->`);
      return text.replace(pattern, (_, begin: string, end: string) => `${begin}\n${render()}\n${end}`);
    },
    readFileSync(join(root, page), "utf8"),
  );
}
