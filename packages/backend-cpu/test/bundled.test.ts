import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, describe, expect, test } from "vitest";
import { CpuBackend } from "../src/index.ts";
import { digest } from "./browser/digest.ts";

const folder = mkdtempSync(join(tmpdir(), "revnet-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The digest that a bundle computes on two threads, in a process of its own. */
async function bundled(options: { readonly keepNames: boolean; readonly minify: boolean }): Promise<string> {
  const outfile = join(folder, "bundle.mjs");
  await build({
    stdin: {
      contents: `
        import { CpuBackend } from "../src/index.ts";
        import { digest } from "./browser/digest.ts";
        process.stdout.write(digest(new CpuBackend({ threads: 2 })));`,
      resolveDir: fileURLToPath(new URL(".", import.meta.url)),
      loader: "ts",
    },
    ...{ bundle: true, outfile, format: "esm", platform: "node", target: "es2022" },
    conditions: ["@revnet-zero/source"],
    ...options,
  });
  const { stdout } = await promisify(execFile)(process.execPath, [outfile]);
  return stdout;
}

describe("a bundle", () => {
  // Workers run functions' source text: names that a bundler keeps by calling a helper of its own killed them.
  test.each([
    { keepNames: true, minify: false },
    { keepNames: true, minify: true },
  ])("computes on two threads the bits of one: %o", async (options) => {
    expect(await bundled(options)).toBe(digest(new CpuBackend({ threads: 1 })));
  });
});
