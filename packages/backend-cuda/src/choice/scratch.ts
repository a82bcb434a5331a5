import type { CudaDevice } from "../device/device.ts";

/** Every byte of it: small numbers of every type; zeros would run faster than anything real. */
const FILL = 0x3c;

/** Memory of these sizes for what is measured, given back after it. */
export function withScratch<T>(
  device: CudaDevice,
  sizes: readonly number[],
  use: (addresses: readonly number[]) => T,
): T {
  const next = (addresses: readonly number[]): T => {
    const bytes = sizes[addresses.length];
    if (bytes === undefined) return use(addresses);
    return device.withWorkspace(bytes, (address) => {
      if (bytes > 0) device.fill(address, FILL, bytes);
      return next([...addresses, address]);
    });
  };
  return next([]);
}
