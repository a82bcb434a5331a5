import {
  collapse,
  dtypes,
  type FusedKernels,
  numel,
  ops,
  type PrimitiveKernels,
  type Shape,
} from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView } from "../device/device.ts";
import type { Epilogue, Matrix, Product } from "../device/products.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

/** Blocks along the third axis of a grid, at most. */
const MOST_BATCHES = 65535;

/** An operand's batch strides over the broadcast batch axes. */
function batchStrides({ shape, strides }: CudaView, batch: Shape): number[] {
  const lead = batch.length - (shape.length - 2);
  return batch.map((_, d) => (d < lead || shape[d - lead] === 1 ? 0 : strides[d - lead]!));
}

/** Row and column stride of an operand; of an axis of size 1 what is handy for a row-major one. */
function steps({ shape, strides }: CudaView): [number, number] {
  const rank = shape.length;
  const [m, n] = [shape[rank - 2]!, shape[rank - 1]!];
  const column = n === 1 ? 1 : strides[rank - 1]!;
  return [m === 1 ? Math.max(n * Math.abs(column), 1) : strides[rank - 2]!, column];
}

/** A row-major operand as the column-major matrix cuBLASLt reads, or undefined where only strides can say how it lies. */
function columnMajor(x: CudaView, step: number): Matrix | undefined {
  const [m, n] = x.shape.slice(-2) as [number, number];
  const [row, column] = steps(x);
  const address = addressOf(x);
  if (column === 1 && row >= n) return { address, isTransposed: false, leading: row, step };
  // A transposed view: its rows lie together.
  if ((row === 1 || m === 1) && column >= m) return { address, isTransposed: true, leading: column, step };
  return undefined;
}

/** What becomes of a product besides being stored. */
type Extras = Pick<Product, "epilogue" | "isAdded">;

/** y = a b as cuBLASLt is told it; undefined where it cannot be told. */
export function libraryProduct(a: CudaView, b: CudaView, y: CudaView, extras: Extras = {}): Product | undefined {
  const { dtype } = a;
  if (y.dtype !== dtype && y.dtype !== "f32") return undefined;
  if (dtype !== "f32" && dtype !== "bf16" && dtype !== "f16") return undefined;
  const batch = y.shape.slice(0, -2);
  const loops = collapse(batch, [batchStrides(a, batch), batchStrides(b, batch)]);
  if (loops.length > 1) return undefined;
  const [{ size, strides }] = loops as [(typeof loops)[number]];
  const [m, n] = y.shape.slice(-2) as [number, number];
  const k = a.shape[a.shape.length - 1]!;
  const [first, second] = [columnMajor(b, strides[1]!), columnMajor(a, strides[0]!)];
  if (first === undefined || second === undefined) return undefined;
  if (strides.some((s) => s < 0)) return undefined;
  // Row-major y = a b is column-major yᵀ = bᵀ aᵀ: the library's first operand is b.
  const d = { address: addressOf(y), isTransposed: false, leading: n, step: m * n };
  const product: Product = { dtype, m: n, n: m, k, batch: size, a: first, b: second, d, ...extras };
  return y.dtype === dtype ? product : { ...product, sumType: "f32" };
}

/** The product through cuBLASLt; false where it cannot. */
function byLibrary(device: CudaDevice, a: CudaView, b: CudaView, y: CudaView, extras: Extras): boolean {
  const product = libraryProduct(a, b, y, extras);
  return product !== undefined && device.products.multiply(product);
}

/** The product in our own kernel, which takes every type and every layout. */
function byTiles(device: CudaDevice, a: CudaView, b: CudaView, y: CudaView): void {
  const batch = y.shape.slice(0, -2);
  const [m, n] = y.shape.slice(-2) as [number, number];
  const k = a.shape[a.shape.length - 1]!;
  const types = { T: cTypes[a.dtype], Y: cTypes[y.dtype] };
  const kernel = device.kernel({ files: ["matmul"], types }, "matmul");
  const loops = collapse(batch, [batchStrides(a, batch), batchStrides(b, batch)]);
  const outer = loops[0]!;
  // A batch longer than a grid is cut along its outermost loop.
  const inner = loops.slice(1).reduce((product, loop) => product * loop.size, 1);
  const atOnce = Math.max(1, Math.floor(MOST_BATCHES / inner));
  for (let from = 0; from < outer.size; from += atOnce) {
    const count = Math.min(atOnce, outer.size - from);
    const shift = (view: CudaView, stride: number): number =>
      addressOf(view) + from * stride * dtypes[view.dtype].bytes;
    const p = device.parameters.start().pointer(shift(a, outer.strides[0]!)).pointer(shift(b, outer.strides[1]!));
    p.pointer(addressOf(y) + from * inner * m * n * dtypes[y.dtype].bytes);
    p.longs([...steps(a), ...steps(b)]);
    p.longs(
      loops.map((l) => l.strides[0]!),
      8,
    );
    p.longs(
      loops.map((l) => l.strides[1]!),
      8,
    );
    p.ints(
      loops.map((l, i) => (i === 0 ? count : l.size)),
      8,
    );
    p.ints([m, n, k, loops.length]);
    device.launch(kernel, Math.ceil(m / 64), Math.ceil(n / 64), count * inner);
  }
}

/** y = a b over broadcast batches, with an epilogue where one is asked for. False: nothing could do that. */
export function multiply(device: CudaDevice, a: CudaView, b: CudaView, y: CudaView, epilogue?: Epilogue): boolean {
  const isPlain = epilogue === undefined;
  if (numel(y.shape) === 0) return true;
  if (a.shape[a.shape.length - 1] === 0) {
    if (!isPlain) return false;
    device.fill(addressOf(y), 0, numel(y.shape) * dtypes[y.dtype].bytes);
    return true;
  }
  if (byLibrary(device, a, b, y, isPlain ? {} : { epilogue })) return true;
  if (!isPlain) return false;
  byTiles(device, a, b, y);
  return true;
}

type Kernels = Pick<PrimitiveKernels<Block>, "matmul"> & Pick<FusedKernels<Block>, "matmulAdd">;

export function matmulKernels({ device, elementwise }: Context): Kernels {
  return {
    matmul: { writesInside: true, run: ([a, b], [y]) => void multiply(device, a!, b!, y!) },
    matmulAdd: {
      run: ([, a, b], [sum]) => {
        const elements = numel(sum!.shape);
        if (elements === 0 || a!.shape[1] === 0) return;
        if (byLibrary(device, a!, b!, sum!, { isAdded: true })) return;
        const bytes = elements * dtypes[a!.dtype].bytes;
        device.withWorkspace(bytes, (address) => {
          const product = { ...sum!, dtype: a!.dtype, data: { address, bytes }, offset: 0 };
          multiply(device, a!, b!, product);
          elementwise.run(ops.add, undefined, [sum!, product], sum!);
        });
      },
    },
  };
}
