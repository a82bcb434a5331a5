export { CpuBackend, type CpuOptions } from "./backend.ts";
export { ReferenceBackend } from "./reference/backend.ts";
export { type TierName, tierNames } from "./wasm/device/tier.ts";
export { PeakMeter, type PeakOptions } from "./wasm/peak.ts";
