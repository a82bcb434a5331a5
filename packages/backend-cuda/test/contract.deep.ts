import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { hopperCases, tilesAgainstRows } from "../src/testing/attention.ts";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();

if (reason === undefined) {
  const { CudaBackend } = await import("../src/index.ts");
  const backend = new CudaBackend();
  opContract({ backend: () => backend, reference: () => new ReferenceBackend() });
  // Copies as late as they may be, and as early: what no barrier waits for comes too late, what none holds back too soon.
  for (const order of ["", "reverse"])
    for (const dtype of ["bf16", "f16"] as const)
      test.each(hopperCases)(`attention on Hopper's tensor cores in ${dtype}, order "${order}": %o`, (one) => {
        process.env.REVNET_STANDIN_ORDER = order;
        try {
          for (const apart of tilesAgainstRows(backend, one, { way: "hopper", dtype }))
            expect(apart).toBeLessThan(2 ** -7);
        } finally {
          process.env.REVNET_STANDIN_ORDER = "";
        }
      });
} else {
  test("CUDA kernels on the stand-in driver", (context) => context.skip(reason));
}
