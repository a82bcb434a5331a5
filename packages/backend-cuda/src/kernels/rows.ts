import { type CudaDevice, THREADS } from "../device/device.ts";
import type { KernelUnit } from "../device/sources.ts";

/** Elements that the threads of a row hold at most (rows.cu): 32 each, in a warp or in a block. */
export const MOST_OF_WARP: number = 32 * 32;
export const MOST_OF_BLOCK: number = 32 * THREADS;

/**
 * Launches a row kernel on the parameters packed last: a warp a row, a block a row, or a block that reads the row again.
 * `unit` names it and is found before the parameters are packed.
 */
export function launchRows(device: CudaDevice, unit: KernelUnit, name: string, rows: number, length: number): void {
  if (rows === 0) return;
  const size = length <= MOST_OF_WARP ? "Warp" : length <= MOST_OF_BLOCK ? "Block" : "Long";
  const kernel = device.kernel(unit, `${name}${size}`);
  device.launch(kernel, size === "Warp" ? Math.ceil(rows / 8) : rows);
}
