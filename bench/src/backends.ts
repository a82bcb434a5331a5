import { CpuBackend } from "@revnet-zero/backend-cpu";
import { CudaBackend, probeCuda } from "@revnet-zero/backend-cuda";
import type { Backend } from "@revnet-zero/tensor";

/** What `--backend` names: the devices that a suite runs on, made when it asks for them. */
export const backends = {
  cpu: async (): Promise<readonly Backend[]> => [new CpuBackend()],
  cuda: async (): Promise<readonly Backend[]> => [new CudaBackend() as Backend],
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

/** Those that whole models are trained on. */
export type TrainingBackend = "cpu" | "cuda";

/** What a process trains on, and what a row says of it. */
export interface OpenedBackend {
  readonly backend: Backend;
  readonly threads: number;
  readonly tier: string;
  /** Bytes of the device that are in use, by the driver's count, other processes included. */
  readonly driverBytes?: () => number;
  /** Times the kernels that may serve what was asked for so far; processes that start afterwards use the best. */
  readonly tune?: () => { readonly problems: number; readonly changed: number };
}

const open: { readonly [B in TrainingBackend]: () => OpenedBackend } = {
  cpu: () => {
    const backend = new CpuBackend();
    return { backend: backend as Backend, threads: backend.threads, tier: backend.tier };
  },
  cuda: () => {
    const backend = new CudaBackend();
    const driverBytes = (): number => {
      const { totalBytes, freeBytes } = backend.memory();
      return totalBytes - freeBytes;
    };
    return {
      backend: backend as Backend,
      threads: 1,
      tier: backend.device.target,
      driverBytes,
      tune: () => backend.tune(),
    };
  },
};

export const openBackend = (name: TrainingBackend): OpenedBackend => open[name]();

/** The device's name where it is a GPU of its own: its figures lie apart. */
export function deviceNameOf(name: BackendName): string | undefined {
  if (name !== "cuda") return undefined;
  const found = probeCuda();
  return found.isAvailable ? found.devices[0]!.name : undefined;
}
