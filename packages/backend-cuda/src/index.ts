export { CudaBackend, type CudaOptions, type DeviceMemory } from "./backend.ts";
