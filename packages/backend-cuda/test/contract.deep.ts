import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "@revnet-zero/testkit";
import { test } from "vitest";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();

if (reason === undefined) {
  const { CudaBackend } = await import("../src/index.ts");
  opContract({ backend: () => new CudaBackend(), reference: () => new ReferenceBackend() });
} else {
  test("CUDA kernels on the stand-in driver", (context) => context.skip(reason));
}
