import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { compileArchive, standInTargets, useStandIn } from "@revnet-zero/backend-cuda/testing";
import { type Backend, Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { firstDifference, train } from "../src/gpu/exactness.ts";
import { hierarchicalApart } from "../src/gpu/hierarchical.ts";
import { quantiseDifferences } from "../src/gpu/rounding.ts";

// What `run.sh training` proves on a device in 200 steps, on the stand-in in two.
const reason = useStandIn();

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();

  test("reversible training has the weights of stored training, the losses of the CPU, and leaves nothing on the device", async () => {
    const exact = await train(new Engine(backend), 2, "exact");
    expect(firstDifference(exact, await train(new Engine(backend), 2, "store"))).toBeUndefined();
    const host = await train(new Engine(new CpuBackend()), 2, "exact");
    for (const [i, loss] of host.losses.entries()) expect(Math.abs(loss - exact.losses[i]!)).toBeLessThan(1e-5);
    expect(backend.memory().liveBlocks).toBe(0);
  });

  test("CPU and CUDA quantise random, halfway and saturating values to the same integers", () => {
    expect(quantiseDifferences(backend, 2 ** 16)).toBe(0);
  });

  test("hierarchical attention is that of the CPU: both directions, learned pooling, recall, and steps with a cache", () => {
    for (const [what, apart] of hierarchicalApart(backend as Backend, new CpuBackend() as Backend))
      expect(apart, what).toBeLessThan(1e-5);
    expect(backend.memory().liveBlocks).toBe(0);
  });

  // Two minutes on two cores, and nothing the second time.
  test("nvcc compiles every kernel that training asks for, for all architectures, within its limits", async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "revnet-archive-"));
    try {
      const record = fileURLToPath(new URL("../src/gpu/record.ts", import.meta.url));
      execFileSync(process.execPath, [...process.execArgv, record, folder], { stdio: ["ignore", "pipe", "inherit"] });
      const path = join(folder, "kernels.fatbins");
      const { compiled, over, skipped } = await compileArchive(join(folder, standInTargets.idle), path);
      if (skipped !== undefined) context.skip(skipped);
      expect(over).toEqual([]);
      expect(compiled).toBeGreaterThan(100);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
} else {
  test("training on the stand-in driver", (context) => context.skip(reason));
}
