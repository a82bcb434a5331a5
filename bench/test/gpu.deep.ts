import { CpuBackend } from "@revnet-zero/backend-cpu";
import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { firstDifference, train } from "../src/gpu/exactness.ts";
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
} else {
  test("training on the stand-in driver", (context) => context.skip(reason));
}
