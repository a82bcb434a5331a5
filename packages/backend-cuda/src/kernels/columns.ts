import { type DType, dtypes } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes, type KernelUnit } from "../device/sources.ts";

/** A row-major [rows, length] in memory. */
export interface Rows {
  readonly dtype: DType;
  readonly address: number;
  readonly rows: number;
  readonly length: number;
}

/** Blocks that fill any device; rows of one partial sum, at least. */
const BLOCKS = 768;
const LEAST_ROWS = 64;

const columnsUnit = (from: DType, to: DType, held: DType, isPacked: boolean): KernelUnit => ({
  files: ["columns"],
  types: { T: cTypes[from], Y: cTypes[to], S: cTypes[held] },
  constants: { PACKED: Number(isPacked) },
});

/** y[c] = the sum of column c of few rows, in the type they are summed in. */
export function sumColumns(device: CudaDevice, { dtype, address, rows, length }: Rows, held: DType, y: CudaView): void {
  const kernel = device.kernel(columnsUnit(dtype, y.dtype, held, true), "sumColumns");
  device.parameters.start().pointer(address).pointer(addressOf(y)).int(rows).int(length);
  device.launch(kernel, Math.ceil(length / 32), 1, 1, 1024);
}

/** Whether `sumManyRows` takes a matrix: rows of whole packs of 16 bytes. */
export const hasPacks = ({ dtype, length }: Rows): boolean => (length * dtypes[dtype].bytes) % 16 === 0;

/** The same of many rows, in two passes: parts follow from the shape alone. */
export function sumManyRows(device: CudaDevice, x: Rows, held: DType, y: CudaView): void {
  const { dtype, address, rows, length } = x;
  const across = Math.ceil((length * dtypes[dtype].bytes) / 16 / 32);
  const parts = Math.max(1, Math.min(Math.ceil(BLOCKS / across), Math.floor(rows / LEAST_ROWS)));
  device.withWorkspace(parts * length * dtypes[held].bytes, (sums) => {
    const kernel = device.kernel(columnsUnit(dtype, y.dtype, held, address % 16 === 0), "columnParts");
    const p = device.parameters.start().pointer(address).pointer(sums).long(rows);
    p.long(Math.ceil(rows / parts)).int(length);
    device.launch(kernel, across, parts);
    sumColumns(device, { dtype: held, address: sums, rows: parts, length }, held, y);
  });
}
