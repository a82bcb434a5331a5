import { type DType, dtypes } from "@revnet-zero/tensor";
import { addressOf, addressOr0, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes, type KernelUnit } from "../device/sources.ts";
import { computeFunction, type MapBody } from "../elementwise/source.ts";

/** A row-major [rows, length] in memory. */
export interface Rows {
  readonly dtype: DType;
  readonly address: number;
  readonly rows: number;
  readonly length: number;
}

/** Threads of a block of `columnParts`, and blocks of it that fill an H100 once; blocks of `mapColumns` that fill any device. */
const ADDING = 512;
const BLOCKS_ADDING = 396;
const BLOCKS_MAPPING = 768;
/** Rows of one partial sum, at least, and at most: of 2048, a thread of `columnParts` adds up 128. */
const LEAST_ROWS = 64;
const MOST_ROWS = 2048;

const columnsUnit = (from: DType, to: DType, held: DType, isPacked: boolean): KernelUnit => ({
  files: ["chain", "columns"],
  types: { T: cTypes[from], Y: cTypes[to], S: cTypes[held] },
  constants: { PACKED: Number(isPacked) },
});

/** y[c] = the sum of column c of few rows, in the type they are summed in; and the same of the matrix behind it, where a second y is given. */
export function sumColumns(device: CudaDevice, of: Rows, held: DType, y: CudaView, second?: CudaView): void {
  const { dtype, address, rows, length } = of;
  const kernel = device.kernel(columnsUnit(dtype, y.dtype, held, true), "sumColumns");
  const p = device.parameters.start().pointer(address).pointer(addressOf(y)).pointer(addressOr0(second));
  p.int(rows).int(length);
  device.launch(kernel, Math.ceil(length / 32), second === undefined ? 1 : 2, 1, 1024);
}

/** Whether `sumManyRows` takes a matrix: rows of whole packs of 16 bytes. */
export const hasPacks = ({ dtype, length }: Rows): boolean => (length * dtypes[dtype].bytes) % 16 === 0;

/** How many rows are cut into runs, whose sums are folded again: follows from the shape alone. */
function runsOf(
  { rows, length }: Rows,
  columnsOfBlock: number,
  blocks: number,
): { readonly across: number; readonly parts: number; readonly partRows: number } {
  const across = Math.ceil(length / columnsOfBlock);
  const wanted = Math.max(Math.ceil(rows / MOST_ROWS), Math.round(blocks / across));
  const parts = Math.max(1, Math.min(wanted, Math.floor(rows / LEAST_ROWS)));
  return { across, parts, partRows: Math.ceil(rows / parts) };
}

/** The same of many rows, in two passes. */
export function sumManyRows(device: CudaDevice, x: Rows, held: DType, y: CudaView): void {
  const { dtype, address, rows, length } = x;
  const { across, parts, partRows } = runsOf(x, (32 * 16) / dtypes[dtype].bytes, BLOCKS_ADDING);
  device.withWorkspace(parts * length * dtypes[held].bytes, (sums) => {
    const kernel = device.kernel(columnsUnit(dtype, y.dtype, held, address % 16 === 0), "columnParts");
    const p = device.parameters.start().pointer(address).pointer(sums).long(rows);
    p.long(partRows).int(length);
    device.launch(kernel, across, parts, 1, ADDING);
    sumColumns(device, { dtype: held, address: sums, rows: parts, length }, held, y);
  });
}

/** y = body(x, y) of matrices of one type, and in the same pass the sums of its columns. */
export function mapAndSum(device: CudaDevice, body: MapBody, x: Rows, y: Rows, held: DType, sums: CudaView): void {
  const { dtype, rows, length } = y;
  const isPacked = hasPacks(y) && x.address % 16 === 0 && y.address % 16 === 0;
  const pack = isPacked ? 16 / dtypes[dtype].bytes : 1;
  const { across, parts, partRows } = runsOf(y, 32 * pack, BLOCKS_MAPPING);
  device.withWorkspace(parts * length * dtypes[held].bytes, (address) => {
    const unit = columnsUnit(dtype, sums.dtype, held, isPacked);
    const files = ["chain", "map", "columns", "mapColumns"];
    const kernel = device.kernel({ ...unit, files, printed: computeFunction(body) }, "mapColumns");
    const p = device.parameters.start().pointer(x.address).pointer(y.address).pointer(address).long(rows);
    p.long(partRows).int(length);
    device.launch(kernel, across, parts);
    sumColumns(device, { dtype: held, address, rows: parts, length }, held, sums);
  });
}
