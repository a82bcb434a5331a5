import { CpuBackend } from "@revnet-zero/backend-cpu";
import type { GpuJsMode } from "@revnet-zero/backend-gpujs";
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

async function openCpu(): Promise<Opened> {
  const backend = new CpuBackend();
  const { tier, threads } = backend;
  return { backend: backend as Backend, info: { engine: tiers[tier], threads } };
}

/** Loaded when chosen: nobody else waits for it. */
async function openGpuJs(mode: Extract<BackendName, GpuJsMode>): Promise<Opened> {
  const { createGpuJsBackend } = await import("@revnet-zero/backend-gpujs");
  const backend = await createGpuJsBackend({ mode });
  const { isRepeatable, isExact } = backend.selfTest;
  const found = `self-test: ${isRepeatable ? "repeatable" : "not repeatable"}, ${isExact ? "exact" : "not exact"}`;
  return { backend: backend as Backend, info: { engine: `${backendChoices[mode].label}; ${found}`, threads: 1 } };
}

/** How each backend is opened. What cannot run here is a BackendError that says why. */
const openers: { readonly [N in BackendName]: () => Promise<Opened> } = {
  cpu: openCpu,
  webgl2: () => openGpuJs("webgl2"),
  webgpu: () => openGpuJs("webgpu"),
};

export const openBackend = (name: BackendName): Promise<Opened> => openers[name]();
