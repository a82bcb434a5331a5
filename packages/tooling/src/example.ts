// `npm run example -- 01 [--assert ...]`: runs the example whose name starts with the number.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { examples } from "./examples.ts";
import { root } from "./packages.ts";

const course = examples();
const [wanted, ...rest] = process.argv.slice(2);
const found = course.filter(({ file }) => wanted !== undefined && file.startsWith(wanted));
if (found.length !== 1) {
  const problem = wanted === undefined ? "which example?" : `${found.length} examples start with "${wanted}"`;
  const list = course.map(({ file }) => `    ${file}`).join("\n");
  console.error(`${problem}\n  hint: npm run example -- <number>, one of\n${list}`);
  process.exit(1);
}
const file = join(root, "examples", found[0]!.file);
// The example sees the arguments it would see if it were run by itself.
process.argv = [process.argv[0]!, file, ...rest];
await import(pathToFileURL(file).href);
