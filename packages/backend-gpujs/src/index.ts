export { createGpuJsBackend, GpuJsBackend, type GpuJsOptions } from "./backend.ts";
export type { DeviceCounts } from "./device/device.ts";
export { type GpuJsMode, gpuJsModes } from "./device/gpu.ts";
export type { SelfTest } from "./selfTest.ts";
