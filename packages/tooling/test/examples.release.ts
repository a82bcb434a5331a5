import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { examples } from "../src/examples.ts";
import { root } from "../src/packages.ts";

const launcher = join(root, "packages/tooling/bin/node24.mjs");

for (const { file } of examples()) {
  test(`example ${file} holds`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, `examples/${file}`, "--assert"], {
      cwd: root,
      encoding: "utf8",
    });
    expect(status, `${stdout}\n${stderr}`).toBe(0);
    // A reason why something was not checked is for whoever reads the log.
    for (const line of stdout.split("\n").filter((line) => line.startsWith("!!"))) console.log(`${file}: ${line}`);
  });
}
