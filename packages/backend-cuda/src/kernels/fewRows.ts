import { dtypes } from "@revnet-zero/tensor";
import { addressOf, addressOr0, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";

/** Rows up to which reading the weights is all that counts. */
const MOST_ROWS = 8;
/** Packs of weights that a lane asks for at once. */
const MOST_DEPTH = 12;
/** Columns of a block: a warp each. */
const COLUMNS = 4;

export interface FewRows {
  /** [rows, k], [n, k], one number a column. */
  readonly x: CudaView;
  readonly w: CudaView;
  readonly bias: CudaView | undefined;
  readonly y: CudaView;
  /** Where GELU's argument goes, of which y then holds the GELU. */
  readonly before?: CudaView;
}

/** A linear layer whose rows are few; false, and nothing is done, where another kernel is to serve. Operands are contiguous. */
export function multiplyFewRows(device: CudaDevice, { x, w, bias, y, before }: FewRows): boolean {
  const [rows, k] = x.shape as readonly number[] as [number, number];
  const n = w.shape[0]!;
  const { dtype } = x;
  const isFloat = dtype === "f32" || dtype === "bf16" || dtype === "f16";
  if (!isFloat || w.dtype !== dtype || y.dtype !== dtype || rows < 1 || rows > MOST_ROWS || n < 1) return false;
  const pack = 16 / dtypes[dtype].bytes;
  if (k % pack !== 0 || [x, w].some((v) => addressOf(v) % 16 !== 0)) return false;
  const types = { T: cTypes[dtype], B: cTypes[bias?.dtype ?? dtype] };
  // One where k is 0: C has no arrays of nothing.
  const depth = Math.max(1, Math.min(MOST_DEPTH, Math.ceil(k / (32 * pack))));
  const ahead = Number(device.graphs.isUntouched(w, bias));
  const constants = { ROWS: rows, PACK: pack, DEPTH: depth, GELU: before === undefined ? 0 : 1, AHEAD: ahead };
  const kernel = device.kernel({ files: ["chain", "words", "gelu", "fewRows"], types, constants }, "fewRows");
  const p = device.parameters.start();
  p.pointer(addressOf(x)).pointer(addressOf(w)).pointer(addressOr0(bias));
  p.pointer(addressOf(y)).pointer(addressOr0(before)).ints([n, k]);
  device.launch(kernel, Math.ceil(n / COLUMNS), 1, 1, 32 * COLUMNS);
  return true;
}
