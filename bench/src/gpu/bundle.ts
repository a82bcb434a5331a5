import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  buildAddon,
  buildStandIn,
  compileAhead,
  standInCache,
  standInTargets,
} from "@revnet-zero/backend-cuda/testing";
import { loadText } from "@revnet-zero/data";
import { stateOfTheUnion } from "../longContext/text.ts";

// Makes one folder, Node included, that runs the GPU checks on a machine that has a GPU and nothing else:
// `npm run gpu:bundle -- <folder>`, then there `sh run.sh contract types=f32,bf16`.

const root = fileURLToPath(new URL("../../..", import.meta.url));
const target = process.argv[2] ?? join(root, "gpu-bundle");
const from = (...parts: string[]): string => join(root, ...parts);
const to = (...parts: string[]): string => join(target, ...parts);

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
buildAddon();
buildStandIn();

// Kernels that earlier runs on the stand-in printed are compiled for the device, where NVRTC is here.
const sources = join(standInCache(), standInTargets.running);
if (existsSync(sources)) {
  try {
    console.log("kernels ahead of time:", compileAhead(sources, from("native-cuda", "out", "kernels"), "sm_90a"));
  } catch (error) {
    console.log(`no kernels ahead of time: ${(error as Error).message}`);
  }
}

// Sources run as they are: the Node that travels strips their types.
const packages = readdirSync(from("packages")).filter((name) => existsSync(from("packages", name, "src")));
for (const name of packages.filter((name) => name !== "tooling")) {
  for (const part of ["src", "package.json"])
    cpSync(from("packages", name, part), to("packages", name, part), { recursive: true });
}
for (const part of ["src", "peers", "package.json"])
  cpSync(from("bench", part), to("bench", part), { recursive: true });
for (const part of ["kernels", "tuned", "standin", "check", "src", "out"])
  cpSync(from("native-cuda", part), to("native-cuda", part), { recursive: true });
for (const name of ["fast-check", "pure-rand", "yaml", "zod"])
  cpSync(from("node_modules", name), to("node_modules", name), { recursive: true });
mkdirSync(to("node_modules", "@revnet-zero"), { recursive: true });
for (const name of packages) symlinkSync(`../../packages/${name}`, to("node_modules", "@revnet-zero", name));
// The contract names vitest; here there is no test runner, and nothing of it is called.
mkdirSync(to("node_modules", "vitest"), { recursive: true });
writeFileSync(to("node_modules", "vitest", "package.json"), '{ "type": "module", "exports": "./index.js" }\n');
writeFileSync(to("node_modules", "vitest", "index.js"), "export const describe = undefined, test = undefined;\n");
// Texts as one module each, without the hundred packages that read them: the novel as one chapter, the speeches as one speech.
const texts = {
  "datasets-moby-dick": (await loadText("moby-dick")).bytes,
  "datasets-sotu": stateOfTheUnion(),
};
for (const [name, bytes] of Object.entries(texts)) {
  const folder = to("node_modules", "@stdlib", name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "type": "module", "exports": "./index.js" }\n');
  const parts = JSON.stringify([{ year: "all", text: new TextDecoder().decode(bytes) }]);
  writeFileSync(join(folder, "index.js"), `export default () => ${parts};\n`);
}
writeFileSync(to("package.json"), '{ "type": "module" }\n');

cpSync(process.execPath, to("node"));
writeFileSync(
  to("run.sh"),
  [
    "#!/bin/sh",
    "# run.sh <check> [name=value ...]: a check of bench/src/gpu/main.ts. run.sh bench <suite> ...: the bench runner.",
    "# run.sh revnet-zero <command> ...: the command line.",
    'cd "$(dirname "$0")"',
    'case "$1" in',
    "  bench) main=bench/src/main.ts; shift ;;",
    "  revnet-zero) main=packages/cli/src/main.ts; shift ;;",
    "  *) main=bench/src/gpu/main.ts ;;",
    "esac",
    'exec ./node --conditions=@revnet-zero/source --expose-gc "$main" "$@"',
    "",
  ].join("\n"),
  { mode: 0o755 },
);
execFileSync("tar", ["-C", dirname(target), "-cJf", `${target}.tar.xz`, target.slice(dirname(target).length + 1)], {
  env: { ...process.env, XZ_OPT: "-1 -T0" },
});
console.log(`${target}.tar.xz`);
