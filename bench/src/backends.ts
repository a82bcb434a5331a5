import { CpuBackend } from "@revnet-zero/backend-cpu";
import { CudaBackend, probeCuda } from "@revnet-zero/backend-cuda";
import type { Backend } from "@revnet-zero/tensor";

export const backendNames = ["cpu", "cuda"] as const;
export type BackendName = (typeof backendNames)[number];

export const isBackendName = (name: string): name is BackendName => (backendNames as readonly string[]).includes(name);

/** What a process computes on, and what a row says of it. */
export interface OpenedBackend {
  readonly backend: Backend;
  readonly threads: number;
  readonly tier: string;
  /** Bytes of the device that are in use, by the driver's count, other processes included. */
  readonly driverBytes?: () => number;
}

const open: { readonly [B in BackendName]: () => OpenedBackend } = {
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
    return { backend: backend as Backend, threads: 1, tier: backend.device.target, driverBytes };
  },
};

export const openBackend = (name: BackendName): OpenedBackend => open[name]();

/** The device's name where it is no processor: its figures lie apart. */
export function deviceNameOf(name: BackendName): string | undefined {
  if (name === "cpu") return undefined;
  const found = probeCuda();
  return found.isAvailable ? found.devices[0]!.name : undefined;
}
