import { dtypes, numel } from "@revnet-zero/tensor";
import type { CudaDevice } from "../../../device/device.ts";
import { cTypes, type KernelUnit } from "../../../device/sources.ts";
import { rowLanes } from "../own.ts";
import { columnSizes, withColumns } from "./columns.ts";
import { packSparse, type SparseAttrs, type SparseOperands, sizesOf, type Workspace } from "./operands.ts";
import { launchSparseRows } from "./rows.ts";
import { launchTilesOfKeys, launchTilesOfQueries, partialBytes, takesTiles, withKeyBias } from "./tiles.ts";

/** o and the log-sum-exp. */
export function sparseForward(device: CudaDevice, operands: SparseOperands, attrs: SparseAttrs): void {
  if (takesTiles(operands)) {
    withKeyBias(device, operands, attrs, (keyBias) =>
      launchTilesOfQueries(device, "forward", operands, attrs, { keyBias }),
    );
  } else launchSparseRows(device, "sparseForward", numel(operands.lse.shape), operands, attrs);
}

/** dq in one pass along the list, dk and dv in one along the list seen from the keys: every sum has one owner. */
export function sparseBackward(device: CudaDevice, operands: SparseOperands, attrs: SparseAttrs): void {
  const sizes = sizesOf(operands);
  const { lse, runs, backward } = operands;
  const [rows, keys] = [numel(lse.shape), sizes.batch * sizes.keyHeads * sizes.s];
  const hasBias = numel(backward!.db.shape) > 0;
  const [ofRows, ofColumns] = [rows * dtypes[lse.dtype].bytes, columnSizes(operands, attrs)];
  const isTiled = takesTiles(operands);
  device.withWorkspace(2 * ofRows, (shift) =>
    withColumns(device, runs, sizes.s, attrs, ofColumns, (columns) => {
      const given: Workspace = { shift, delta: shift + ofRows, columns };
      prepare(device, operands, attrs, given);
      if (hasBias && attrs.bias !== "key") biasByPairs(device, operands, attrs, given);
      if (!isTiled) {
        launchSparseRows(device, "sparseQueries", rows, operands, attrs, given);
        launchSparseRows(device, "sparseKeys", keys, operands, attrs, given);
        return;
      }
      withKeyBias(device, operands, attrs, (keyBias) =>
        device.withWorkspace(partialBytes(operands, columns.mostPartials), (partials) => {
          const all = { ...given, keyBias, partials } as Required<Workspace>;
          launchTilesOfQueries(device, "queries", operands, attrs, all);
          launchTilesOfKeys(device, "keys", operands, attrs, all);
          if (hasBias && attrs.bias === "key") launchTilesOfKeys(device, "bias", operands, attrs, all);
        }),
      );
    }),
  );
}

/** shift and delta of every query. */
function prepare(device: CudaDevice, operands: SparseOperands, attrs: SparseAttrs, given: Workspace): void {
  const { dtype } = operands.q;
  const lanes = rowLanes(dtype, sizesOf(operands).e);
  const unit: KernelUnit = {
    files: ["heads", "rowDot", "list", "sparse", "sparsePrepare"],
    types: { T: cTypes[dtype] },
    constants: { LANES: lanes },
  };
  const kernel = device.kernel(unit, "sparsePrepare");
  packSparse(device, operands, attrs, given);
  device.launchOver(kernel, numel(operands.lse.shape) * lanes);
}

/** The gradient by a bias of a distance or a pair. */
function biasByPairs(device: CudaDevice, operands: SparseOperands, attrs: SparseAttrs, given: Workspace): void {
  const places = numel(operands.backward!.db.shape);
  if (attrs.bias === "relative") launchSparseRows(device, "sparseDistances", places, operands, attrs, given);
  else launchSparseRows(device, "sparsePairs", places, operands, attrs, given, 256);
}
