import { dtypes } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import type { KernelUnit } from "../device/sources.ts";

/** Elements that a thread of a row holds at most, and so a warp and a block (rows.cu). */
const MOST = 32;
export const MOST_OF_WARP: number = 32 * MOST;
export const MOST_OF_BLOCK: number = THREADS * MOST;

/** Which kernel takes rows of a length: a warp a row, a block a row, or a block that reads the row again. */
type RowSize = "Warp" | "Block" | "Long";
export const rowSize = (length: number): RowSize =>
  length <= MOST_OF_WARP ? "Warp" : length <= MOST_OF_BLOCK ? "Block" : "Long";

/** Rows of a length, and every operand that a kernel reads or writes row by row. */
export interface Rows {
  readonly rows: number;
  readonly length: number;
  readonly operands: readonly (CudaView | undefined)[];
}

/** Whether all operands are read four elements at a time. The order of sums is the same either way. */
const isPacked = ({ length, operands }: Rows): boolean =>
  length % 4 === 0 && operands.every((v) => v === undefined || addressOf(v) % (4 * dtypes[v.dtype].bytes) === 0);

/** A unit with what its threads hold of rows, and how they read them. */
export function rowUnit(unit: KernelUnit, of: Rows): KernelUnit {
  const threads = rowSize(of.length) === "Warp" ? 32 : THREADS;
  const parts = Math.max(1, Math.min(MOST / 4, Math.ceil(of.length / (4 * threads))));
  const isFull = of.length === 4 * threads * parts;
  const constants = { ROW_PARTS: parts, ROW_PACKED: Number(isPacked(of)), ROW_FULL: Number(isFull) };
  return { ...unit, constants: { ...unit.constants, ...constants } };
}

/** Warps of a block that has a row each. */
const WARPS = THREADS / 32;

/** Launches a row kernel on the parameters packed last; `unit` names it and is found before the parameters are packed. */
export function launchRows(device: CudaDevice, unit: KernelUnit, name: string, of: Rows): void {
  if (of.rows === 0) return;
  const size = rowSize(of.length);
  const kernel = device.kernel(rowUnit(unit, of), `${name}${size}`);
  device.launch(kernel, size === "Warp" ? Math.ceil(of.rows / WARPS) : of.rows);
}

/** The same of a kernel whose warps have nothing in common: no more of them than there are short rows. */
export function launchRowsApart(device: CudaDevice, unit: KernelUnit, name: string, of: Rows): void {
  if (rowSize(of.length) !== "Warp" || of.rows >= WARPS || of.rows === 0) launchRows(device, unit, name, of);
  else device.launch(device.kernel(rowUnit(unit, of), `${name}Warp`), 1, 1, 1, 32 * of.rows);
}
