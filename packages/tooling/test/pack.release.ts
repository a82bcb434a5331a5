import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { build as esbuild } from "esbuild";
import { build as vite } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findPinnedNode } from "../bin/pinned-node.mjs";
import { isPublished, root, workspaces } from "../src/packages.ts";

// What a user gets: the packed packages, installed in an empty folder far from the sources, on both Nodes.
const published = workspaces().filter(isPublished);
const folder = mkdtempSync(join(tmpdir(), "revnet-zero-pack-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// npm hands its settings and a PATH into the repository to what it runs: a user has neither.
const userEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_OPTIONS$|VITEST|INIT_CWD$)/i.test(name)),
);

function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = userEnv): string {
  const isWindows = process.platform === "win32";
  const result = spawnSync(command, args, { cwd, env, encoding: "utf8", shell: isWindows, maxBuffer: 2 ** 26 });
  const said = `${command} ${args.join(" ")}\n${result.stdout}\n${result.stderr}`;
  expect(result.error, said).toBeUndefined();
  expect(result.status, said).toBe(0);
  return result.stdout;
}

/** The first block of code after `<!-- start -->` in the README. */
function readmeStart(): string {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const block = /<!-- start -->\s*```[jt]s\n([\s\S]*?)```/.exec(readme)?.[1];
  if (block === undefined) throw new Error("README.md has no ```ts block after <!-- start -->");
  return block;
}

interface Packed {
  readonly name: string;
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}
let packed: readonly Packed[] = [];

beforeAll(() => {
  run("npm", ["run", "build"], root);
  const selection = published.flatMap(({ manifest }) => ["--workspace", manifest.name]);
  packed = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", folder, ...selection], root));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  // All at once: they name each other by a version that no registry need have.
  run("npm", ["install", "--no-audit", "--no-fund", ...packed.map(({ filename }) => `./${filename}`)], folder);
});

test.each(published)("$folder carries its code, its licence and nothing of the workshop", ({ manifest }) => {
  const files = packed.find(({ name }) => name === manifest.name)?.files.map(({ path }) => path) ?? [];
  expect(files).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", "src/index.ts"]),
  );
  expect(
    files.filter(
      (path) => !/^(LICENSE|README\.md|package\.json|(dist|src|bin|native)\/.+(?<!\.tsbuildinfo))$/.test(path),
    ),
  ).toEqual([]);
});

test("the types stand by themselves", () => {
  const imports = published.map(({ manifest }, index) => `export * as p${index} from "${manifest.name}";`);
  writeFileSync(join(folder, "types.ts"), imports.join("\n"));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2023", "--types", "node"];
  const lib = ["--lib", "es2023,esnext.disposable", "--typeRoots", join(root, "node_modules/@types")];
  run(process.execPath, [tsc, "--ignoreConfig", ...options, ...lib, "types.ts"], folder);
});

describe.each([20, 24])("on Node %i", (major) => {
  const binary = findPinnedNode(major);
  const onThisNode = {
    ...userEnv,
    PATH: [binary === undefined ? "" : dirname(binary), userEnv.PATH].join(delimiter),
  };

  test.each(published)("$manifest.name loads", ({ manifest }) => {
    expect(binary, `npm has no Node ${major} for this platform`).toBeDefined();
    run(binary!, ["--input-type=module", "--eval", `await import("${manifest.name}")`], folder);
  });

  test("the README's start runs", () => {
    writeFileSync(join(folder, "start.mjs"), readmeStart());
    run(binary!, ["start.mjs"], folder);
  });

  test("npx revnet-zero info", () => {
    expect(run("npx", ["--no-install", "revnet-zero", "info"], folder, onThisNode)).toMatch(/\S/);
  });
});

/** What a page computes: on the CPU backend, and with gpu.js in two of its modes. */
const page = `
import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { CpuBackend, Engine, randomKey, randomNormal } from "revnet-zero";
async function digest(backend) {
  const engine = new Engine(backend);
  const x = randomNormal([24, 40], { key: randomKey(1), engine });
  const y = engine.scope(() => x.softmax().matmul(x.transpose()).gelu().quantise(20).add(x.mul(1e6).cast("i32").sum()));
  let hash = 0x811c9dc5;
  for (const word of await y.data()) hash = Math.imul(hash ^ word, 0x01000193);
  return (hash >>> 0).toString(16);
}
const found = [await digest(new CpuBackend({ threads: 1 }))];
for (const mode of ["webasm", "cpu"])
  found.push(await createGpuJsBackend({ mode }).then(digest, (error) => error.message.split("\\n")[0]));
console.log(JSON.stringify(found));
`;

describe("bundled for a page", () => {
  const entry = join(folder, "page.mjs");
  const outdir = join(folder, "bundles");
  // Readers of files, and the book that is a package, have no place in a page; none of these is used.
  const external = ["node:*", "@stdlib/*"];
  const bundlers: Readonly<Record<string, (file: string) => Promise<unknown>>> = {
    esbuild: (file) =>
      esbuild({
        ...{ entryPoints: [entry], outfile: join(outdir, file), bundle: true, minify: true, logLevel: "error" },
        ...{ format: "esm", platform: "browser", target: "es2022", external },
      }),
    vite: (file) =>
      vite({
        ...{ configFile: false, logLevel: "error", root: folder },
        build: {
          ...{ outDir: outdir, emptyOutDir: false, target: "es2022", minify: true, copyPublicDir: false },
          rollupOptions: { input: entry, output: { entryFileNames: file, codeSplitting: false } },
        },
      }),
  };
  const inFolder = (file: string): string[] => JSON.parse(run(process.execPath, [file], folder));

  beforeAll(() => {
    mkdirSync(outdir);
    writeFileSync(entry, page);
  });

  test.each(Object.keys(bundlers))(
    "by %s, revnet-zero works without gpu.js, which is asked for by name",
    async (name) => {
      await bundlers[name]!(`${name}-without.mjs`);
      const [cpu, ...others] = inFolder(join(outdir, `${name}-without.mjs`));
      expect(cpu).toMatch(/^[0-9a-f]+$/);
      for (const message of others) expect(message).toBe("gpujs: gpu.js is not installed");
    },
  );

  test.each(Object.keys(bundlers))(
    "by %s with gpu.js, minified, the numbers are those of the packages",
    async (name) => {
      const link = join(folder, "node_modules/gpu.js");
      symlinkSync(join(root, "node_modules/gpu.js"), link);
      try {
        const expected = inFolder(entry);
        for (const digest of expected) expect(digest).toMatch(/^[0-9a-f]+$/);
        await bundlers[name]!(`${name}-with.mjs`);
        expect(inFolder(join(outdir, `${name}-with.mjs`))).toEqual(expected);
      } finally {
        rmSync(link);
      }
    },
  );
});
