import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, hasDefaultEngine, setDefaultEngine } from "@revnet-zero/tensor";

// Importing this package is enough to compute: it makes the CPU the default engine, unless the program has set one already.
// A GPU is taken when it is asked for: setDefaultEngine(new Engine(new CudaBackend())).
if (!hasDefaultEngine()) setDefaultEngine(new Engine(new CpuBackend()));

export * from "@revnet-zero/attention";
export { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
export { CudaBackend, type CudaProbe, probeCuda } from "@revnet-zero/backend-cuda";
export { MetaBackend } from "@revnet-zero/backend-meta";
export * from "@revnet-zero/compile";
export * from "@revnet-zero/data";
export * from "@revnet-zero/flows";
export * from "@revnet-zero/io";
export * from "@revnet-zero/memory";
export * from "@revnet-zero/models";
export * from "@revnet-zero/nn";
export * from "@revnet-zero/optim";
export * from "@revnet-zero/plot";
export * from "@revnet-zero/reversible";
export * from "@revnet-zero/tensor";
export * from "@revnet-zero/train";
