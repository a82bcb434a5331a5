import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isPublished, readManifest, root, workspaces } from "../src/packages.ts";

const all = workspaces();
const published = all.filter(isPublished);
const references = (config: string): string[] => {
  const text = readFileSync(join(root, config), "utf8").replace(/^\s*\/\/.*$/gm, "");
  const { references } = JSON.parse(text);
  return references.map((reference: { path: string }) => reference.path).sort();
};

test("every package has the version of the repository", () => {
  const { version } = readManifest(".");
  expect(all.filter(({ manifest }) => manifest.version !== version)).toEqual([]);
});

test("every dependency is one exact version", () => {
  const loose = [{ folder: ".", manifest: readManifest(".") }, ...all].flatMap(({ folder, manifest }) => {
    const { dependencies, devDependencies, optionalDependencies } = manifest;
    return Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
      .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
      .map(([name, version]) => `${folder}: ${name} ${version}`);
  });
  expect(loose).toEqual([]);
});

test("the repository builds every published package", () => {
  expect(references("tsconfig.tests.json")).toEqual(published.map(({ folder }) => folder).sort());
});

test.each(published)("$folder: tsc builds first what it depends on", ({ folder, manifest }) => {
  const siblings = Object.keys(manifest.dependencies ?? {}).flatMap((name) =>
    all.filter((other) => other.manifest.name === name).map((other) => other.folder.replace("packages/", "../")),
  );
  expect(references(`${folder}/tsconfig.json`)).toEqual(siblings.sort());
});

interface LockedPackage {
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
const locked: Record<string, LockedPackage> = JSON.parse(
  readFileSync(join(root, "package-lock.json"), "utf8"),
).packages;

test("the lock file names no host", () => {
  expect(Object.keys(locked).filter((path) => /^https?:/.test(locked[path]!.resolved ?? ""))).toEqual([]);
});

// A registry that lacks another platform's binary makes npm drop its entry without a word, and then `npm ci` refuses the lock
// file everywhere. The entry needs the version, "optional", "os" and "cpu"; npm adds the hash where it can fetch the package.
test("the lock file has an entry for the optional packages of every platform", () => {
  const names = new Set(Object.keys(locked).map((path) => path.slice(path.lastIndexOf("node_modules/") + 13)));
  const wanted = Object.values(locked).flatMap(({ optionalDependencies }) => Object.keys(optionalDependencies ?? {}));
  expect(wanted.filter((name) => !names.has(name))).toEqual([]);
});
