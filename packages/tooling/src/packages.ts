import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The fields of a package.json that the tools read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A workspace: its folder from the root of the repository, with slashes, and its package.json. */
export interface Workspace {
  readonly folder: string;
  readonly manifest: Manifest;
}

export const root: string = fileURLToPath(new URL("../../../", import.meta.url));

export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
}

/** Every workspace of the repository, in the order of their folders' names. */
export function workspaces(): Workspace[] {
  const folders = readdirSync(join(root, "packages")).map((name) => `packages/${name}`);
  return [...folders, "bench", "examples"]
    .filter((folder) => existsSync(join(root, folder, "package.json")))
    .map((folder) => ({ folder, manifest: readManifest(folder) }));
}

export const isPublished = (workspace: Workspace): boolean => workspace.manifest.private !== true;
