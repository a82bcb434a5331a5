import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "@revnet-zero/testkit";
import { test } from "vitest";
import { createGpuJsBackend } from "../src/index.ts";

// WebGL in Node, by `npm run test:gl`: the package gl, where it could be built, on an X server that shows nothing.
const backend = await createGpuJsBackend({ mode: "headlessgl" }).catch((error: Error) => error);

if (backend instanceof Error) {
  test("kernels in headlessgl", (context) => context.skip(backend.message));
} else {
  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    effort: 0.1,
    seed: 7,
    tolerance: { relative: 1e-4, absolute: 1e-5 },
    noSpecials: "float units of a GPU do not promise NaN, infinities and subnormals",
  });
}
