import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "@revnet-zero/testkit";
import { createGpuJsBackend } from "../src/index.ts";

for (const mode of ["webasm", "cpu"] as const) {
  const backend = await createGpuJsBackend({ mode });
  opContract({ backend: () => backend, reference: () => new ReferenceBackend(), effort: 1 });
}
