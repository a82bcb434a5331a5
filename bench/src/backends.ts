import { CpuBackend } from "@revnet-zero/backend-cpu";
import type { Backend } from "@revnet-zero/tensor";

/** What `--backend` names: the devices that a suite runs on, made when it asks for them. */
export const backends = {
  cpu: async (): Promise<readonly Backend[]> => [new CpuBackend()],
  /** Every mode of gpu.js that this process can have: headlessgl needs Node 20 and an X server. */
  gpujs: async (): Promise<readonly Backend[]> => {
    const { createGpuJsBackend } = await import("@revnet-zero/backend-gpujs");
    const modes = ["webasm", "cpu", "headlessgl"] as const;
    const made = await Promise.all(modes.map((mode) => createGpuJsBackend({ mode }).catch(() => undefined)));
    return made.flatMap((backend) => backend ?? []);
  },
} as const;

export type BackendName = keyof typeof backends;

export const isBackendName = (name: string): name is BackendName => Object.hasOwn(backends, name);
