import { rmSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { sourcesIn } from "../src/ahead/compileArchive.ts";
import { overLimit, readLimits } from "../src/ahead/limits.ts";
import { compileAll, nvccVersion } from "../src/ahead/nvcc.ts";
import { recordOps } from "./recorded.ts";

const { folder, reason } = recordOps(2);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Some hundred choices: an hour on a slow machine, and nothing the second time.
test("nvcc compiles what two calls of every op in every type ask for, within its limits", {
  timeout: 3_600_000,
}, async (context) => {
  if (reason !== undefined) context.skip(reason);
  if (nvccVersion() === undefined) context.skip("there is no nvcc on the PATH");
  const texts = sourcesIn(folder);
  const compiled = await compileAll(new Map(texts.map((text, i) => [String(i), text])), [["compute_90a", "sm_90a"]]);
  const over = [...compiled.values()].flatMap(({ resources }) =>
    resources.flatMap((one) => overLimit(one, readLimits())),
  );
  expect([...new Set(over)].sort()).toEqual([]);
});
