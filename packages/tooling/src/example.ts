// `npm run example -- 01 [--assert ...]`: runs the example whose name starts with the number.
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const folder = fileURLToPath(new URL("../../../examples/", import.meta.url));
const gallery = readdirSync(folder)
  .filter((name) => /^\d+.*\.ts$/.test(name))
  .sort();

const [wanted, ...rest] = process.argv.slice(2);
const found = gallery.filter((name) => wanted !== undefined && name.startsWith(wanted));
if (found.length !== 1) {
  const problem = wanted === undefined ? "which example?" : `${found.length} examples start with "${wanted}"`;
  console.error(
    `${problem}\n  hint: npm run example -- <number>, one of\n${gallery.map((name) => `    ${name}`).join("\n")}`,
  );
  process.exit(1);
}
const file = resolve(folder, found[0]!);
// The example sees the arguments it would see if it were run by itself.
process.argv = [process.argv[0]!, file, ...rest];
await import(pathToFileURL(file).href);
