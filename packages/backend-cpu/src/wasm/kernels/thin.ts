import type { Device, LoadedKernel } from "../device/device.ts";
import { emitThinDots, emitThinSums } from "../rows/thin.ts";
import type { Product } from "./matmul.ts";

type Loaded = Readonly<Record<"thinDots" | "thinDotsBatches" | "thinSums" | "thinSumsBatches", LoadedKernel>>;
/** The kernels for a number of vectors, generated when first asked for. */
export type ThinKernels = (vectors: number) => Loaded;

/** Vectors that a matrix is multiplied with without being packed. */
const MOST = 4;
const ALIGN = 16;

export function loadThin(device: Device): ThinKernels {
  const known = new Map<number, Loaded>();
  return (vectors) => {
    let found = known.get(vectors);
    if (found === undefined) {
      const { multiply } = device.tier;
      found = device.load(
        (m) => {
          emitThinDots(m, multiply, vectors);
          emitThinSums(m, multiply, vectors);
        },
        ["thinDots", "thinDotsBatches", "thinSums", "thinSumsBatches"],
      );
      known.set(vectors, found);
    }
    return found;
  };
}

/** A product seen as that of a matrix by a few vectors: strides in bytes between its lines, steps and vectors. */
interface Thin {
  readonly vectors: number;
  readonly lines: number;
  readonly w: { readonly at: number; readonly line: number; readonly step: number };
  readonly x: { readonly at: number; readonly thin: number; readonly step: number };
  readonly c: { readonly line: number; readonly thin: number };
  readonly bias: { readonly line: number; readonly thin: number };
}

function thinOf({ rows, columns, a, b }: Product): Thin | undefined {
  if (rows <= MOST)
    return {
      vectors: rows,
      lines: columns,
      w: { at: b.at, line: b.columnBytes, step: b.rowBytes },
      x: { at: a.at, thin: a.rowBytes, step: a.columnBytes },
      c: { line: 4, thin: 4 * columns },
      bias: { line: 4, thin: 0 },
    };
  if (columns <= MOST)
    return {
      vectors: columns,
      lines: rows,
      w: { at: a.at, line: a.rowBytes, step: a.columnBytes },
      x: { at: b.at, thin: b.columnBytes, step: b.rowBytes },
      c: { line: 4 * columns, thin: 4 },
      bias: { line: 0, thin: 4 },
    };
  return undefined;
}

/** About how long a step of a line takes where the matrix comes from memory. */
const NANOSECONDS = 0.2;

/** Multiplies where one side has at most four rows or columns and the other lies in order; says false elsewhere. */
export function multiplyThin(device: Device, kernels: ThinKernels, product: Product): boolean {
  const thin = thinOf(product);
  if (thin === undefined) return false;
  const { k, c: at, isAdded = false, bias: biasAt = 0 } = product;
  const { vectors, lines, w, x, c, bias } = thin;
  const areDots = w.step === 4 || k === 1;
  if (!areDots && w.line !== 4) return false;
  const { thinDots, thinSums } = kernels(vectors);
  const work = { units: lines, align: ALIGN, nanosecondsPerUnit: NANOSECONDS * k };
  const last = [at, c.line, c.thin, isAdded ? 1 : 0, biasAt, bias.line, bias.thin] as const;
  if (!areDots) {
    device.run(thinSums, work, k, w.at, w.step, x.at, x.thin, x.step, ...last);
    return true;
  }
  const copy = x.step === 4 || k === 1 ? undefined : sideBySide(device, thin, k);
  device.run(
    thinDots,
    work,
    k,
    w.at,
    w.line,
    copy?.byteOffset ?? x.at,
    copy === undefined ? x.thin : 4 * k,
    4,
    ...last,
  );
  if (copy !== undefined) device.heap.free(copy);
  return true;
}

/** The vectors with their steps side by side. */
function sideBySide(device: Device, { vectors, x }: Thin, k: number): Float32Array {
  const copy = device.heap.allocate("f32", vectors * k) as Float32Array;
  const words = new Float32Array(device.heap.memory.buffer);
  const [from, thin, step] = [x.at / 4, x.thin / 4, x.step / 4];
  for (let i = 0; i < vectors; i++) for (let p = 0; p < k; p++) copy[i * k + p] = words[from + i * thin + p * step]!;
  return copy;
}

/** The bytes from one matrix of a batch to the next. */
export interface BatchBytes {
  readonly count: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** The same for all matrices of a batch, divided by matrices. */
export function multiplyThinBatches(
  device: Device,
  kernels: ThinKernels,
  product: Product,
  { count, a, b, c: cBatch }: BatchBytes,
): boolean {
  const thin = thinOf(product);
  if (thin === undefined) return false;
  const { k, c: at } = product;
  const { vectors, lines, w, x, c, bias } = thin;
  const areDots = (w.step === 4 && x.step === 4) || k === 1;
  if (!areDots && w.line !== 4) return false;
  const loaded = kernels(vectors);
  const [kernel, wBytes] = areDots ? [loaded.thinDotsBatches, w.line] : [loaded.thinSumsBatches, w.step];
  const [wBatch, xBatch] = w.at === product.b.at && vectors === product.rows ? [b, a] : [a, b];
  const work = { units: count, nanosecondsPerUnit: NANOSECONDS * k * lines };
  const last = [at, c.line, c.thin, 0, 0, bias.line, bias.thin] as const;
  device.run(kernel, work, lines, wBatch, xBatch, cBatch, k, w.at, wBytes, x.at, x.thin, x.step, ...last);
  return true;
}
