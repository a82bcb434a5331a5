import { type BufferView, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import type { Device, Follower, LoadedKernel } from "../device/device.ts";
import { emitGemmParts } from "../gemm/parts.ts";
import { shared } from "../gemm/tile.ts";
import { LOOP_ALIGN } from "../vector/loop.ts";
import { batchSteps, stepTo, uniform } from "./batch.ts";
import { multiplyInt8 } from "./int8.ts";
import { loadThin, multiplyThin, multiplyThinBatches, type ThinKernels } from "./thin.ts";

type View = BufferView<TypedArray>;
const names = ["gemmPack", "gemmRows", "gemmColumns", "gemmBatches"] as const;
export interface Gemm extends Readonly<Record<(typeof names)[number], LoadedKernel>> {
  readonly thin: ThinKernels;
}

/** A matrix in the heap: addresses and steps in bytes. */
export interface Matrix {
  readonly at: number;
  readonly rowBytes: number;
  readonly columnBytes: number;
}

export interface Product {
  readonly rows: number;
  readonly columns: number;
  readonly k: number;
  readonly a: Matrix;
  readonly b: Matrix;
  /** Columns side by side. */
  readonly c: number;
  /** Adds to what C holds. */
  readonly isAdded?: boolean;
  /** Address of a row added to every row of C, after the sum. */
  readonly bias?: number;
  /** Goes over the rows of C. */
  readonly next?: Follower;
}

export function loadGemm(device: Device): Gemm {
  const { tile, multiply } = device.tier;
  return { ...device.load((m) => emitGemmParts(m, tile, multiply), names), thin: loadThin(device) };
}

/** Multiply-adds a nanosecond, roughly: only to tell whether threads are worth waking. */
const PER_NANOSECOND = 25;
/** Nanoseconds for an element of B. */
const PACKING = 0.4;
/** A part of fewer rows reads packed B too often. A multiple of every tile's rows. */
const LEAST_ROWS = 48;

/** C (+)= A · B (+ bias), then what follows on the rows of C. */
export function multiply(device: Device, gemm: Gemm, product: Product): void {
  const { rows, columns, k, next } = product;
  if (rows * columns === 0) return;
  const { tile } = device.tier;
  if (k === 0) emptySums(device, product);
  else if (!multiplyThin(device, gemm.thin, product)) {
    if (rows < 2 * tile.rows * device.threads && rows < columns) byColumns(device, gemm, product);
    else if (byRows(device, gemm, product)) return;
  }
  if (next === undefined) return;
  const { kernel, scale, nanosecondsPerUnit, args } = next;
  device.run(kernel, { units: rows * scale, align: LOOP_ALIGN, nanosecondsPerUnit }, ...args);
}

/** Where there are few rows. */
function byColumns(device: Device, gemm: Gemm, product: Product): void {
  const { rows, columns, k, a, b, c, isAdded = false, bias = 0 } = product;
  const { tile } = device.tier;
  const work = { units: columns, align: tile.columns, nanosecondsPerUnit: (rows * k) / PER_NANOSECOND };
  const matrices = [a.at, a.rowBytes, a.columnBytes, b.at, b.rowBytes, b.columnBytes, c, columns * 4] as const;
  device.run(gemm.gemmColumns, work, rows, k, ...matrices, isAdded ? 1 : 0, bias);
}

/**
 * Parts of B as large as the shared scratch: packed by all threads, then multiplied by rows of A. Whether rows were finished one after
 * the other, and what follows ran.
 */
function byRows(device: Device, gemm: Gemm, product: Product): boolean {
  const { rows, columns, k, a, b, c, isAdded = false, bias = 0, next } = product;
  let isFollowed = false;
  const { tile } = device.tier;
  const packed = device.sharedScratch;
  for (let pc = 0; pc < k; pc += shared.k) {
    const kc = Math.min(k - pc, shared.k);
    const most = Math.floor(shared.bytes / (4 * kc * tile.columns)) * tile.columns;
    const adds = isAdded || pc > 0 ? 1 : 0;
    const isLast = pc + kc === k;
    for (let jc = 0; jc < columns; jc += most) {
      const nc = Math.min(columns - jc, most);
      const bAt = b.at + pc * b.rowBytes + jc * b.columnBytes;
      const panels = { units: Math.ceil(nc / tile.columns), nanosecondsPerUnit: PACKING * tile.columns * kc };
      device.run(gemm.gemmPack, panels, nc, kc, bAt, b.rowBytes, b.columnBytes, packed);
      isFollowed = isLast && nc === columns;
      const work = {
        ...{ units: rows, align: tile.rows, least: LEAST_ROWS, nanosecondsPerUnit: (nc * kc) / PER_NANOSECOND },
        ...(isFollowed && next !== undefined ? { next } : {}),
      };
      const [aAt, biasAt] = [a.at + pc * a.columnBytes, isLast && bias !== 0 ? bias + 4 * jc : 0];
      const to = [packed, c + 4 * jc, 4 * columns] as const;
      device.run(gemm.gemmRows, work, nc, kc, aAt, a.rowBytes, a.columnBytes, ...to, adds, biasAt);
    }
  }
  return isFollowed;
}

/** Sums of nothing: zero, and the bias. */
function emptySums(device: Device, { rows, columns, c, isAdded = false, bias = 0 }: Product): void {
  const { buffer } = device.heap.memory;
  const out = new Float32Array(buffer, c, rows * columns);
  if (!isAdded) out.fill(0);
  if (bias === 0) return;
  const added = new Float32Array(buffer, bias, columns);
  for (let i = 0; i < out.length; i++) out[i]! += added[i % columns]!;
}

export const matmulKernel = (device: Device, gemm: Gemm): PrimitiveKernels<TypedArray>["matmul"] => ({
  run: ([a, b], [y]) => (a!.dtype === "i8" ? multiplyInt8(device, a!, b!, y!) : matmul(device, gemm, a!, b!, y!)),
});

/** y = a · b over broadcast batch axes, all strides. */
function matmul(device: Device, gemm: Gemm, a: View, b: View, y: View): void {
  const batch = y.shape.slice(0, -2);
  const [rows, columns] = y.shape.slice(-2) as [number, number];
  const k = a.shape[a.shape.length - 1]!;
  const count = numel(batch);
  if (rows * columns * count === 0) return;
  const c = y.data.byteOffset;
  const size = rows * columns * 4;
  const [aSteps, bSteps] = [batchSteps(a, batch), batchSteps(b, batch)];
  const [A, B] = [matrixOf(device, a), matrixOf(device, b)];
  const [aStep, bStep] = [uniform(aSteps, batch), uniform(bSteps, batch)];
  if (k > 0 && count > 1 && count >= device.threads && aStep !== undefined && bStep !== undefined) {
    const batches = { count, a: 4 * aStep, b: 4 * bStep, c: size };
    if (multiplyThinBatches(device, gemm.thin, { rows, columns, k, a: A, b: B, c }, batches)) return;
    const work = { units: count, nanosecondsPerUnit: (rows * columns * k) / PER_NANOSECOND };
    const first = [rows, columns, k, A.at, A.rowBytes, A.columnBytes, 4 * aStep] as const;
    const second = [B.at, B.rowBytes, B.columnBytes, 4 * bStep] as const;
    device.run(gemm.gemmBatches, work, ...first, ...second, c, 4 * columns, size, 0);
    return;
  }
  for (let i = 0; i < count; i++) {
    const [aAt, bAt] = [A.at + 4 * stepTo(i, batch, aSteps), B.at + 4 * stepTo(i, batch, bSteps)];
    multiply(device, gemm, { rows, columns, k, a: { ...A, at: aAt }, b: { ...B, at: bAt }, c: c + i * size });
  }
}

/** The last two axes of a view as a matrix. */
export function matrixOf(device: Device, view: View): Matrix {
  const [row, column] = view.strides.slice(-2) as [number, number];
  return { at: device.addressOf(view), rowBytes: 4 * row, columnBytes: 4 * column };
}
