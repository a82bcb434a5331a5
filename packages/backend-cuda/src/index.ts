export { CudaBackend, type CudaOptions, type DeviceMemory } from "./backend.ts";
export { buildAddon } from "./build.ts";
export type { TuneReport } from "./choice/tune.ts";
export { type CudaProbe, probeCuda } from "./probe.ts";
