import type { CudaDevice } from "../../../device/device.ts";
import { cTypes, type KernelUnit } from "../../../device/sources.ts";
import { packSparse, type SparseAttrs, type SparseOperands, sizesOf, type Workspace } from "./operands.ts";

/** Rows that a block of eight warps takes, a warp each. */
const ROWS = 8;

/** Runs a kernel of sparseRows.cu, of which a block takes `each` of `rows`. */
export function launchSparseRows(
  device: CudaDevice,
  name: string,
  rows: number,
  operands: SparseOperands,
  attrs: SparseAttrs,
  workspace: Workspace = {},
  each: number = ROWS,
): void {
  const { d, e } = sizesOf(operands);
  const unit: KernelUnit = {
    files: ["heads", "rowsOfAttention", "list", "sparse", "sparseRows"],
    types: { T: cTypes[operands.q.dtype] },
    constants: { D: Math.max(1, Math.ceil(d / 32)), E: Math.max(1, Math.ceil(e / 32)) },
  };
  const kernel = device.kernel(unit, name);
  packSparse(device, operands, attrs, workspace);
  device.launch(kernel, Math.ceil(rows / each));
}
