import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "@revnet-zero/testkit";
import { createGpuJsBackend } from "../src/index.ts";

// What every backend promises, in the modes of a browser. Each shape is a kernel, and a kernel takes tens of milliseconds to compile: one
// run a property and type. The device's float units round divisions and square roots as they like, hence the tolerance.
const tolerance = { relative: 1e-4, absolute: 1e-5 };
const noSpecials = "float units of a GPU do not promise NaN, infinities and subnormals";

const few = { reference: () => new ReferenceBackend(), effort: 0.1, seed: 7 };

for (const mode of ["webgl2", "webgpu"] as const) {
  const backend = await createGpuJsBackend({ mode });
  opContract({ ...few, backend: () => backend, tolerance, noSpecials });
}
for (const mode of ["webasm", "cpu"] as const) {
  const backend = await createGpuJsBackend({ mode });
  opContract({ ...few, backend: () => backend });
}
// WebGL 1 is what WebGL 2 is, on other textures: one op of every family.
const webgl = await createGpuJsBackend({ mode: "webgl" });
opContract({
  ...few,
  ...{ backend: () => webgl, tolerance, noSpecials },
  only: [
    "exp",
    "mul",
    "cast",
    "concat",
    "randomBits",
    "sum",
    "argmax",
    "sort",
    "take",
    "scatterAdd",
    "matmul",
    "conv2d",
    "attention",
  ],
});
