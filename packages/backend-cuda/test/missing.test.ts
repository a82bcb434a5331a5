import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorText } from "@revnet-zero/testkit";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { buildAddon, CudaBackend, probeCuda } from "../src/index.ts";

// What a machine may lack. The addon is loaded once a process, so this one never has it.
const folder = mkdtempSync(join(tmpdir(), "revnet-missing-"));
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(folder, { recursive: true }));

test("without a C++ compiler building says so, and leaves nothing half done", () => {
  vi.stubEnv("CXX", join(folder, "no-compiler"));
  const error = errorText(() => buildAddon(join(folder, "out", "addon.node")));
  expect(error).toMatch(/^BackendError: cuda: .*no-compiler does not build .*ENOENT/);
  expect(error).toContain("hint: install a C++ compiler (g++), or name one by CXX");
  expect(readdirSync(join(folder, "out"))).toEqual([]);
});

test("without the addon the package loads, a probe says what to do, and opening a device throws the same", () => {
  vi.stubEnv("REVNET_CUDA_ADDON", join(folder, "out", "addon.node"));
  const probe = probeCuda();
  expect(probe).toMatchObject({ isAvailable: false, problem: expect.stringContaining("the addon is not built") });
  expect(errorText(() => new CudaBackend())).toMatch(
    /the addon is not built: .*\n {2}hint: build it with a C\+\+ compiler/,
  );
});
