import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { expect, test } from "vitest";
import { memoryOfStep, memorySubjects, smallSizes } from "../src/gpu/memory.ts";

// What `run.sh memory` proves on a device, on a stand-in whose kernels do nothing: no value decides about a byte.
process.env.REVNET_STANDIN_IDLE = "1";
const reason = useStandIn();

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();

  test.each(memorySubjects)("%s: the estimate is the device's ledger, and within 3 % of what it hands out", (name) => {
    const found = memoryOfStep(backend, name, smallSizes);
    expect(found.ledgerBytes).toBe(found.estimatedBytes);
    expect(found.isSameAtPeak).toBe(true);
    expect(found.assumptions).toEqual([]);
    expect(found.tensorBytes).toBeGreaterThanOrEqual(found.estimatedBytes);
    expect(found.tensorBytes).toBeLessThanOrEqual(1.03 * found.estimatedBytes);
    expect(found.usedBytes).toBe(found.estimatedUsedBytes);
    expect(found.reservedBytes).toBe(found.estimatedReservedBytes);
    expect(found.takenBytes).toBe(found.addedBytes);
    expect(backend.memory().usedBytes).toBe(0);
  });
} else {
  test("estimates on the stand-in driver", (context) => context.skip(reason));
}
