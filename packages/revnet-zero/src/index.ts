import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, hasDefaultEngine, setDefaultEngine } from "@revnet-zero/tensor";

// Importing this package is enough to compute: it sets the best backend present as the default engine, unless the
// program has set one already. Today that is the CPU, on every machine.
if (!hasDefaultEngine()) setDefaultEngine(new Engine(new CpuBackend()));

export { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
export { MetaBackend } from "@revnet-zero/backend-meta";
export * from "@revnet-zero/data";
export * from "@revnet-zero/flows";
export * from "@revnet-zero/io";
export * from "@revnet-zero/models";
export * from "@revnet-zero/nn";
export * from "@revnet-zero/optim";
export * from "@revnet-zero/reversible";
export * from "@revnet-zero/tensor";
export * from "@revnet-zero/train";
