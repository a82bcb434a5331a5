import { collapse, type DType, dtypes, type Loop, numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import { hasPacks, type Rows, sumManyRows } from "./columns.ts";
import type { Context } from "./context.ts";
import { around } from "./split.ts";

type Kernels = Pick<PrimitiveKernels<Block>, "sum" | "max" | "min" | "argmax" | "argmin" | "cumsum">;
type Fold = "Sum" | "Max" | "Min";

/** The type a fold of elements is held in. */
export const wideType = (d: DType): "f64" | "f32" | "i32" =>
  d === "f64" ? "f64" : dtypes[d].kind === "float" ? "f32" : "i32";

/** The type that elements are folded in: sums of floats in double. */
export const foldType = (fold: Fold, d: DType): "f64" | "f32" | "i32" =>
  fold === "Sum" && dtypes[d].kind === "float" ? "f64" : wideType(d);

/** A launch: what is folded, where it lies, and who shares an output. */
interface FoldLaunch {
  readonly fold: Fold;
  readonly how: Sharing;
  readonly from: DType;
  readonly to: DType;
  readonly x: number;
  readonly y: number;
  readonly kept: readonly Loop[];
  readonly reduced: readonly Loop[];
  readonly outputs: number;
  readonly count: number;
  readonly chunks: number;
}

/** Elements folded by one thread block or thread before their results are folded again. Follows from the shape alone. */
const LEAST_CHUNK = 16;
const MOST_CHUNKS = 1024;
const MANY_ROWS = 256;
const ENOUGH_WORKERS = 2 ** 18;

type Sharing = "reduceByThread" | "reduceByWarp" | "reduceByBlock";
const outputsOfBlock: Readonly<Record<Sharing, number>> = {
  reduceByThread: THREADS,
  reduceByWarp: 8,
  reduceByBlock: 1,
};

/** Threads that share an output: one where neighbouring outputs lie together in memory, many where an output's own elements do. */
function sharing(kept: readonly Loop[], reduced: readonly Loop[], count: number): Sharing {
  const step = (loops: readonly Loop[]): number =>
    Math.abs(loops[loops.length - 1]!.strides[0]!) || Number.POSITIVE_INFINITY;
  const outputsLieTogether = kept.reduce((n, loop) => n * loop.size, 1) >= 32 && step(kept) < step(reduced);
  if (outputsLieTogether || count <= 4) return "reduceByThread";
  return count <= 1024 ? "reduceByWarp" : "reduceByBlock";
}

function launchFold(device: CudaDevice, one: FoldLaunch): void {
  const { how } = one;
  const types = { T: cTypes[one.from], Y: cTypes[one.to], W: cTypes[foldType(one.fold, one.from)] };
  const kernel = device.kernel({ files: ["chain", "reduce"], types, constants: { FOLD: one.fold } }, how);
  const p = device.parameters.start().pointer(one.x).pointer(one.y).long(one.outputs).long(one.count);
  p.long(Math.ceil(one.count / one.chunks));
  const strides = (loops: readonly Loop[]): number[] => loops.map((l) => l.strides[0]!);
  const sizes = (loops: readonly Loop[]): number[] => loops.map((l) => l.size);
  p.longs(strides(one.kept), 8).longs(strides(one.reduced), 8);
  p.ints(sizes(one.kept), 8).ints(sizes(one.reduced), 8).int(one.kept.length).int(one.reduced.length);
  device.launch(kernel, Math.ceil(one.outputs / outputsOfBlock[how]), one.chunks);
}

/** Parts that a fold is cut into, so that a few long ones keep the device busy too. */
function chunksOf(how: Sharing, outputs: number, count: number): number {
  const workers = outputs * (how === "reduceByThread" ? 1 : how === "reduceByWarp" ? 32 : THREADS);
  const wanted = Math.ceil(ENOUGH_WORKERS / workers);
  const least = how === "reduceByThread" ? LEAST_CHUNK : how === "reduceByWarp" ? 4 * 32 : 16 * THREADS;
  return Math.max(1, Math.min(wanted, Math.floor(count / least), MOST_CHUNKS));
}

/** x as a matrix whose columns are summed, where it is one of many rows and read in packs. */
function asColumns(x: CudaView, kept: readonly Loop[], reduced: readonly Loop[]): Rows | undefined {
  const [across, down] = [kept[0]!, reduced[0]!];
  if (kept.length !== 1 || reduced.length !== 1 || across.strides[0] !== 1 || down.strides[0] !== across.size) return;
  const rows = { dtype: x.dtype, address: addressOf(x), rows: down.size, length: across.size };
  return down.size >= MANY_ROWS && hasPacks(rows) ? rows : undefined;
}

/** Folds `axes` of x into y; long folds in two passes. */
export function fold(device: CudaDevice, fold: Fold, x: CudaView, y: CudaView, axes: readonly number[]): void {
  const outputs = numel(y.shape);
  if (outputs === 0) return;
  const pick = (isReduced: boolean): Loop[] => {
    const own = x.shape.map((_, d) => d).filter((d) => axes.includes(d) === isReduced);
    return collapse(
      own.map((d) => x.shape[d]!),
      [own.map((d) => x.strides[d]!)],
    );
  };
  const [kept, reduced] = [pick(false), pick(true)];
  const count = axes.reduce((n, d) => n * x.shape[d]!, 1);
  const columns = fold === "Sum" ? asColumns(x, kept, reduced) : undefined;
  if (columns !== undefined) {
    sumManyRows(device, columns, foldType(fold, x.dtype), y);
    return;
  }
  const how = sharing(kept, reduced, count);
  const chunks = chunksOf(how, outputs, count);
  const one = { fold, how, from: x.dtype, x: addressOf(x), kept, reduced, outputs, count, chunks };
  if (chunks === 1) {
    launchFold(device, { ...one, to: y.dtype, y: addressOf(y) });
    return;
  }
  const held = foldType(fold, x.dtype);
  device.withWorkspace(chunks * outputs * dtypes[held].bytes, (partial) => {
    launchFold(device, { ...one, to: held, y: partial });
    launchFold(device, {
      ...{ fold, from: held, x: partial, to: y.dtype, y: addressOf(y), outputs, count: chunks, chunks: 1 },
      // A warp an output, though they lie apart: they are few, and one thread would wait for them one after the other.
      how: "reduceByWarp",
      kept: [{ size: outputs, strides: [1] }],
      reduced: [{ size: chunks, strides: [outputs] }],
    });
  });
}

/** Elements of a line from which on a block goes through it, and of a part where few lines leave multiprocessors idle. */
const LONG_LINE = 2048;
const BLOCKS_THAT_FILL = 128;

function extremum(device: CudaDevice, sign: 1 | -1): Kernels["argmax"] {
  return {
    inputs: "contiguous",
    run: ([x], [y], { axis }) => {
      const { outer, size, inner } = around(x!.shape, axis);
      const lines = outer * inner;
      if (lines === 0) return;
      // A warp that goes through a vocabulary alone waits for memory a thousand times, and a block dozens of times.
      const warps = size > LONG_LINE ? 32 : 1;
      const wanted = Math.min(Math.ceil(size / LONG_LINE), Math.floor(BLOCKS_THAT_FILL / lines));
      const part = warps === 1 || wanted < 2 ? size : Math.ceil(size / wanted);
      const parts = Math.ceil(size / part);
      const held = wideType(x!.dtype);
      const types = { T: cTypes[x!.dtype] };
      const unit = { files: ["chain", "extremum"], types, constants: { SIGN: sign, WARPS: warps } };
      const find = (places: number, winners: number): void => {
        const kernel = device.kernel(unit, "extremum");
        device.parameters.start().pointer(addressOf(x!)).pointer(places).long(lines).int(size).int(inner);
        device.parameters.int(part).pointer(winners);
        if (warps === 1) device.launch(kernel, Math.ceil(lines / 8));
        else device.launch(kernel, lines, parts, 1, 32 * warps);
      };
      if (parts === 1) {
        find(addressOf(y!), 0);
        return;
      }
      const placesBytes = Math.ceil((4 * lines * parts) / 8) * 8;
      device.withWorkspace(placesBytes + lines * parts * dtypes[held].bytes, (places) => {
        const winners = places + placesBytes;
        find(places, winners);
        const kernel = device.kernel(unit, "extremumOfParts");
        device.parameters.start().pointer(winners).pointer(places).pointer(addressOf(y!)).int(parts);
        device.launch(kernel, lines, 1, 1, 32);
      });
    },
  };
}

export function reduceKernels({ device }: Context): Kernels {
  return {
    sum: { run: ([x], [y], { axes }) => fold(device, "Sum", x!, y!, axes) },
    max: { run: ([x], [y], { axes }) => fold(device, "Max", x!, y!, axes) },
    min: { run: ([x], [y], { axes }) => fold(device, "Min", x!, y!, axes) },
    argmax: extremum(device, 1),
    argmin: extremum(device, -1),
    cumsum: {
      inputs: "contiguous",
      run: ([x], [y], { axis }) => {
        const { outer, size, inner } = around(x!.shape, axis);
        if (outer * size * inner === 0) return;
        const types = { T: cTypes[x!.dtype], Y: cTypes[y!.dtype] };
        const kernel = device.kernel({ files: ["cumsum"], types }, "cumsum");
        device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(y!)).int(size).int(inner);
        device.launch(kernel, outer * inner);
      },
    },
  };
}
