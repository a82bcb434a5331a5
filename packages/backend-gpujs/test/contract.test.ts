import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "@revnet-zero/testkit";
import { createGpuJsBackend } from "../src/index.ts";

// The modes that need nothing but JavaScript, held to what every backend promises; each shape is a kernel, so there are few runs.
// More of them are in contract.deep.ts, the modes of a GPU in the browser's tests (npm run test:browser).
for (const mode of ["webasm", "cpu"] as const) {
  const backend = await createGpuJsBackend({ mode });
  opContract({ backend: () => backend, reference: () => new ReferenceBackend(), effort: 0.2 });
}
