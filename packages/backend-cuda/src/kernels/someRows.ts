import { dtypes } from "@revnet-zero/tensor";
import { addressOf, addressOr0, type CudaDevice } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { FewRows } from "./fewRows.ts";

/** Rows whose sums a warp holds; one is multiplied as fast without tensor cores. */
const LEAST_ROWS = 2;
const MOST_ROWS = 64;
/** Every block of sixteen columns reads the rows: where many do, and there are more rows than this, a library's larger blocks serve. */
const FEW_ROWS = 16;
const MOST_COLUMNS = 8192;
const WARPS = 8;
/** Along k. */
const STEP = 32;
const MOST_STEPS = 12;
/** As in someRows.cu. */
const PITCH = 17;

/** A linear layer whose rows are some, in 16-bit floats; false, and nothing is done, where another kernel is to serve. Operands are contiguous. */
export function multiplySomeRows(device: CudaDevice, { x, w, bias, y, before }: FewRows): boolean {
  const [rows, k] = x.shape as readonly number[] as [number, number];
  const n = w.shape[0]!;
  const { dtype } = x;
  if ((dtype !== "bf16" && dtype !== "f16") || w.dtype !== dtype || y.dtype !== dtype) return false;
  if (rows < LEAST_ROWS || rows > MOST_ROWS || n < 1 || k < STEP || k % STEP !== 0) return false;
  if (rows > FEW_ROWS && n > MOST_COLUMNS) return false;
  if ([x, w].some((v) => addressOf(v) % 16 !== 0)) return false;
  const rowTiles = Math.ceil(rows / 8);
  const types = { T: cTypes[dtype], B: cTypes[bias?.dtype ?? dtype] };
  const steps = Math.min(MOST_STEPS, Math.ceil(k / (STEP * WARPS)));
  const constants = {
    ...{ ROW_TILES: rowTiles, STEPS: steps, WARPS, GELU: before === undefined ? 0 : 1 },
    AHEAD: Number(device.graphs.isUntouched(w, bias)),
  };
  const sharedBytes = dtypes.f32.bytes * WARPS * 8 * rowTiles * PITCH;
  const unit = { files: ["chain", "tensorCore", "gelu", "someRows"], types, constants };
  const kernel = device.kernel(unit, "someRows", sharedBytes);
  const p = device.parameters.start();
  p.pointer(addressOf(x)).pointer(addressOf(w)).pointer(addressOr0(bias));
  p.pointer(addressOf(y)).pointer(addressOr0(before)).ints([rows, n, k]);
  device.launch(kernel, Math.ceil(n / 16), 1, 1, 32 * WARPS, sharedBytes);
  return true;
}
