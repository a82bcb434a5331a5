import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { expect, test } from "vitest";
import { findLargest } from "../src/gpu/largest.ts";

// What `run.sh largest` finds on a device of 80 GB, of everything but the kernels: the stand-in is told to run none, and touches no memory.
const reason = useStandIn();
process.env.REVNET_STANDIN_IDLE = "1";
process.env.REVNET_STANDIN_MEMORY = String(85e9);

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();
  const shape = { layers: 12, width: 768, vocabulary: 50304, length: 1024, mostTokens: Number.POSITIVE_INFINITY };

  test("an exact reversible step has room for ten times the sequences of an ordinary one: tensors of 8 billion numbers, none counted in 32 bits", {
    timeout: 240_000,
  }, () => {
    const [ordinary, exact] = (["ordinary", "exact"] as const).map((mode) =>
      findLargest(backend, { ...shape, mode, axis: "batch" }),
    );
    expect(exact!.made).toBeGreaterThan(10 * ordinary!.made);
    expect(exact!.made * 1024 * 3072).toBeGreaterThan(2 ** 32);
    for (const { peakGiB, estimatedGiB, reservedGiB } of [ordinary!, exact!]) {
      expect(peakGiB).toBe(estimatedGiB);
      // Of the memory that blocks of such sizes could have, what the allocator cannot use is little.
      expect(reservedGiB / peakGiB).toBeLessThan(1.03);
    }
    expect(backend.memory().liveBlocks).toBe(0);
  });
} else {
  test("the largest step on the stand-in driver", (context) => context.skip(reason));
}
