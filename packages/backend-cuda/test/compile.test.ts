import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BackendError } from "@revnet-zero/tensor";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { compileAhead } from "../src/ahead/byNvrtc.ts";
import { sourcesIn } from "../src/ahead/compileArchive.ts";
import { overLimit, readLimits } from "../src/ahead/limits.ts";
import { compileAll, nvccVersion } from "../src/ahead/nvcc.ts";
import { kernelFiles, kernelText } from "../src/device/sources.ts";
import { recordOps } from "./recorded.ts";

// What NVIDIA's compilers say of our kernels, one choice of each family. All that ops ask for: compile.deep.ts; all that training
// asks for, for every architecture: bench/test/gpu.deep.ts.
const { folder, reason } = recordOps("families");
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});

describe("one choice of every family", () => {
  test("has the text of every file of kernels", () => {
    const texts = sourcesIn(folder);
    expect(kernelFiles().filter((file) => !texts.some((text) => text.includes(kernelText(file))))).toEqual([]);
  });

  test("is compiled by nvcc, within its limits", { timeout: 120_000 }, async (context) => {
    if (nvccVersion() === undefined) context.skip("there is no nvcc on the PATH");
    const texts = sourcesIn(folder);
    const compiled = await compileAll(new Map(texts.map((text, i) => [String(i), text])), [["compute_90a", "sm_90a"]]);
    const resources = [...compiled.values()].flatMap((one) => one.resources);
    expect(new Set(resources.map(({ kernel }) => kernel)).size).toBeGreaterThan(texts.length);
    expect(resources.flatMap((one) => overLimit(one, readLimits()))).toEqual([]);
  });

  test("is compiled by NVRTC", { timeout: 120_000 }, (context) => {
    const to = join(folder, "cubins");
    try {
      const { compiled } = compileAhead(folder, to, "sm_90a");
      expect(compiled).toBe(sourcesIn(folder).length);
    } catch (error) {
      if (!(error instanceof BackendError && error.message.includes("nowhere to be found"))) throw error;
      context.skip(error.message);
    }
    for (const name of readdirSync(join(to, "sm_90a")))
      expect(
        readFileSync(join(to, "sm_90a", name))
          .subarray(0, 4)
          .toString("latin1"),
      ).toBe("\x7fELF");
  });
});
