import { CpuBackend } from "@revnet-zero/backend-cpu";
import type { Backend } from "@revnet-zero/tensor";
import { type BackendName, backendChoices, type EngineInfo } from "./backendChoices.ts";

interface Opened {
  readonly backend: Backend;
  readonly info: EngineInfo;
}

const tiers: Readonly<Record<CpuBackend["tier"], string>> = {
  wide: "WebAssembly, 256-bit SIMD",
  relaxed: "WebAssembly, relaxed SIMD",
  simd: "WebAssembly, SIMD",
  scalar: "plain JavaScript: no WebAssembly SIMD here",
};

/** How each backend is opened. What cannot run here is a BackendError that says why. */
const openers: { readonly [N in BackendName]: () => Promise<Opened> } = {
  cpu: async () => {
    const backend = new CpuBackend();
    const { tier, threads } = backend;
    return { backend: backend as Backend, info: { label: backendChoices.cpu.label, detail: tiers[tier], threads } };
  },
};

export const openBackend = (name: BackendName): Promise<Opened> => openers[name]();
