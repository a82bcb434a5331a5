import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** Bytes that our packages take when installed; undefined before `npm run build`. */
export function packedBytes(): number | undefined {
  if (!existsSync(join(root, "packages/revnet-zero/dist"))) return undefined;
  const npm = join(dirname(process.execPath), "npm");
  const command = existsSync(npm) ? npm : "npm";
  const { stdout } = spawnSync(command, ["pack", "--dry-run", "--json", "--workspaces"], {
    cwd: root,
    encoding: "utf8",
  });
  const packages = JSON.parse(stdout) as { readonly name: string; readonly unpackedSize: number }[];
  const isOurs = ({ name }: { readonly name: string }): boolean => !/bench|examples|tooling|testkit/.test(name);
  return packages.filter(isOurs).reduce((sum, { unpackedSize }) => sum + unpackedSize, 0);
}

/** Bytes of installed packages, their files alone. */
export async function installedBytes(names: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const name of names) {
    const folder = join(root, "node_modules", name);
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
}
