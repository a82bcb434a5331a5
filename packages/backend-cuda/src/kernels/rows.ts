import { dtypes } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import type { KernelUnit } from "../device/sources.ts";

/** Elements that a thread of a row holds at most, and so a warp and a block (rows.cu). */
const MOST = 32;
const MOST_OF_WARP = 32 * MOST;
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
  return { ...unit, constants: { ...unit.constants, ROW_PARTS: parts, ROW_PACKED: Number(isPacked(of)) } };
}

/** Blocks that go through rows: eight warps each, or one row. */
export const blocksOf = ({ rows, length }: Rows): number => (rowSize(length) === "Warp" ? Math.ceil(rows / 8) : rows);

/** Launches a row kernel on the parameters packed last; `unit` names it and is found before the parameters are packed. */
export function launchRows(device: CudaDevice, unit: KernelUnit, name: string, of: Rows): void {
  if (of.rows === 0) return;
  const kernel = device.kernel(rowUnit(unit, of), `${name}${rowSize(of.length)}`);
  device.launch(kernel, blocksOf(of));
}
