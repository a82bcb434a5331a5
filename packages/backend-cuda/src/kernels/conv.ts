import { type DType, dtypes, numel, type PrimitiveKernels, type Shape } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import { sumColumns } from "./columns.ts";
import type { Context } from "./context.ts";

type Kernels = Pick<PrimitiveKernels<Block>, "conv2d" | "conv2dInputGradient" | "conv2dWeightGradient">;
type Pass = keyof Kernels;
type Pair = readonly [number, number];

interface Attrs {
  readonly stride: Pair;
  readonly padding: Pair;
  readonly dilation: Pair;
  readonly groups: number;
}

/** Which tensor is a convolution's input, its weight and its output, or like it: one of the three is computed from the others. */
interface Convolution<T> {
  readonly x: T;
  readonly w: T;
  readonly y: T;
}

/** As in tileFloat.cu and tileHalf.cu. */
const TILE_COLUMNS = 128;
const THREADS = 128;
const tiles: { readonly [D in DType]?: { readonly step: number; readonly rows: readonly number[] } } = {
  f32: { step: 16, rows: [16, 32, 64] },
  bf16: { step: 32, rows: [32, 64] },
  f16: { step: 32, rows: [32, 64] },
};
/** Rows, and elements of a group's weight, from which tiles are faster, most of which is then for nothing. */
const LEAST_ROWS = 4;
const LEAST_ELEMENTS = 64;
/** Blocks that fill any device, and pixels that a block is to have at least. */
const BLOCKS = 512;
const LEAST_RUN = 512;
/** What kernels count in 32 bits with a sign. */
const MOST = 2 ** 31 - 1;

/** Whether tiles serve: their types, channels enough, and places that fit. A function of shapes and types alone. */
export function takesTiles(pass: Pass, dtype: DType, { x, w, y }: Convolution<Shape>, groups: number): boolean {
  const [out, perGroup] = [w[0]! / groups, w[1]!];
  const isWide =
    pass === "conv2dWeightGradient"
      ? out * numel(w.slice(1)) >= LEAST_ELEMENTS
      : (pass === "conv2d" ? out : perGroup) >= LEAST_ROWS;
  const pixels = (shape: Shape): number => shape[0]! * shape[2]! * shape[3]!;
  const plane = (shape: Shape): number => numel(shape.slice(1)) / groups;
  const counts = [pixels(x), pixels(y), plane(x), plane(y), numel(w)];
  return dtype in tiles && isWide && counts.every((n) => 0 < n && n <= MOST);
}

/** The tile whose rows are filled best, of the largest where several are. */
function rowsOf(dtype: DType, rows: number): number {
  const cost = (of: number): number => of * Math.ceil(rows / of);
  return tiles[dtype]!.rows.reduce((best, of) => (cost(of) <= cost(best) ? of : best));
}

function tilesKernel(device: CudaDevice, name: string, dtype: DType, out: DType, rows: number): number {
  const files = dtype === "f32" ? ["tileFloat", "convTiles"] : ["tensorCore", "tileHalf", "convTiles"];
  return device.kernel({ files, types: { T: cTypes[dtype], Y: cTypes[out] }, constants: { ROWS: rows } }, name);
}

interface Operands extends Convolution<CudaView> {
  readonly attrs: Attrs;
}

/** Along one spatial axis: pixels first, first + step, ... are written from places scale n + shift + move i of taps tap + tapStep i. */
interface Lattice {
  readonly first: number;
  readonly step: number;
  readonly count: number;
  readonly taps: number;
  readonly tap: number;
  readonly tapStep: number;
  readonly scale: number;
  readonly shift: number;
  readonly move: number;
}
interface AxisSizes {
  readonly x: number;
  readonly y: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

const forwardLattice = ({ y, kernel, stride, padding, dilation }: AxisSizes): Lattice => ({
  ...{ first: 0, step: 1, count: y, taps: kernel, tap: 0, tapStep: 1 },
  ...{ scale: stride, shift: -padding, move: dilation },
});

/** Of the input's gradient: pixels whose places are alike under the stride, each with the taps that reach them. */
function gradientLattices({ x, kernel, stride, padding, dilation }: AxisSizes): Lattice[] {
  return Array.from({ length: Math.min(stride, x) }, (_, first) => {
    const reaching = Array.from({ length: kernel }, (_, i) => i).filter(
      (i) => (first + padding - i * dilation) % stride === 0,
    );
    const [tap = 0, next = tap + 1] = reaching;
    const [tapStep, count] = [next - tap, Math.ceil((x - first) / stride)];
    return {
      ...{ first, step: stride, count, taps: reaching.length, tap, tapStep, scale: 1 },
      ...{ shift: Math.floor((first + padding - tap * dilation) / stride), move: -(tapStep * dilation) / stride },
    };
  });
}

/** Writes y from x, or x from y. */
function dataByTiles(device: CudaDevice, pass: "conv2d" | "conv2dInputGradient", { x, w, y, attrs }: Operands): void {
  const { stride, padding, dilation, groups } = attrs;
  const isForward = pass === "conv2d";
  const [from, to] = isForward ? [x, y] : [y, x];
  const [out, perGroup, kh, kw] = w.shape as readonly number[] as [number, number, number, number];
  const [rows, channels] = isForward ? [out / groups, perGroup] : [perGroup, out / groups];
  const [weightRow, weightChannel] = isForward ? [perGroup * kh * kw, kh * kw] : [kh * kw, perGroup * kh * kw];
  const [down, across] = ([0, 1] as const).map((d) => {
    const sizes = { x: x.shape[2 + d]!, y: y.shape[2 + d]!, kernel: w.shape[2 + d]! };
    const axis = { ...sizes, stride: stride[d], padding: padding[d], dilation: dilation[d] };
    return isForward ? [forwardLattice(axis)] : gradientLattices(axis);
  }) as [Lattice[], Lattice[]];
  const tileRows = rowsOf(to.dtype, rows);
  const [images, , height, width] = to.shape as readonly number[] as [number, number, number, number];
  const bytes = dtypes[to.dtype].bytes;
  const kernel = tilesKernel(device, "convData", to.dtype, to.dtype, tileRows);
  for (const v of down)
    for (const h of across) {
      // Pixels that no tap reaches are sums of nothing.
      const hasTaps = v.taps * h.taps > 0;
      const [tilesDown, columns] = [Math.ceil(rows / tileRows), images * v.count * h.count];
      const p = device.parameters.start();
      p.pointer(addressOf(w) + bytes * (v.tap * kw + h.tap)).pointer(addressOf(from));
      p.pointer(addressOf(to) + bytes * (v.first * width + h.first));
      p.ints([rows, hasTaps ? channels : 0, from.shape[2]!, from.shape[3]!, images, v.count, h.count]);
      p.ints(hasTaps ? [v.taps, h.taps] : [1, 1]);
      p.ints([numel(w.shape) / groups, weightRow, weightChannel, v.tapStep * kw, h.tapStep]);
      p.ints([v.scale, h.scale, v.shift, h.shift, v.move, h.move]);
      p.ints([height * width, v.step * width, h.step, tilesDown, 0]);
      device.launch(kernel, tilesDown * Math.ceil(columns / TILE_COLUMNS), 1, groups, THREADS);
    }
}

/** How a weight's gradient is cut into runs of pixels, which are added up afterwards: follows from the shape alone. */
function runsOf(pixels: number, blocks: number, step: number): { readonly runs: number; readonly run: number } {
  const wanted = Math.max(1, Math.min(Math.floor(BLOCKS / blocks), Math.floor(pixels / LEAST_RUN)));
  const run = step * Math.ceil(pixels / wanted / step);
  return { runs: Math.ceil(pixels / run), run };
}

/** Writes w from x and y. */
function weightByTiles(device: CudaDevice, { x, w, y, attrs }: Operands): void {
  const { stride, padding, dilation, groups } = attrs;
  const [out, perGroup, kh, kw] = w.shape as readonly number[] as [number, number, number, number];
  const rows = out / groups;
  const tileRows = rowsOf(w.dtype, rows);
  const [tilesDown, tilesAcross] = [Math.ceil(rows / tileRows), Math.ceil((perGroup * kh * kw) / TILE_COLUMNS)];
  const [images, , height, width] = y.shape as readonly number[] as [number, number, number, number];
  const { runs, run } = runsOf(images * height * width, tilesDown * tilesAcross * groups, tiles[w.dtype]!.step);
  const launch = (address: number, dtype: DType): void => {
    const kernel = tilesKernel(device, "convWeights", w.dtype, dtype, tileRows);
    const p = device.parameters.start();
    p.pointer(addressOf(y)).pointer(addressOf(x)).pointer(address);
    p.ints([rows, perGroup, x.shape[2]!, x.shape[3]!, images, height, width, kh, kw]);
    p.ints([0, 0, kh * kw, kw, 1]);
    p.ints([...stride, -padding[0], -padding[1], ...dilation]);
    p.ints([0, 0, 0, tilesDown, run]);
    device.launch(kernel, tilesDown * tilesAcross, runs, groups, THREADS);
  };
  if (runs === 1) {
    launch(addressOf(w), w.dtype);
    return;
  }
  const length = numel(w.shape);
  device.withWorkspace(runs * length * dtypes.f32.bytes, (address) => {
    launch(address, "f32");
    sumColumns(device, { dtype: "f32", address, rows: runs, length }, "f32", w);
  });
}

function plainly(device: CudaDevice, pass: Pass, { x, w, y, attrs }: Operands): void {
  const [a, b, to] = pass === "conv2d" ? [x, w, y] : pass === "conv2dInputGradient" ? [y, w, x] : [y, x, w];
  const n = numel(to.shape);
  const kernel = device.kernel({ files: ["convPlain"], types: { T: cTypes[to.dtype] } }, pass);
  const p = device.parameters.start().pointer(addressOf(a)).pointer(addressOf(b)).pointer(addressOf(to)).long(n);
  p.ints([...x.shape, ...w.shape, y.shape[2]!, y.shape[3]!, ...attrs.stride, ...attrs.padding, ...attrs.dilation]);
  // The weight's gradient sums over many places: a block an element.
  if (pass === "conv2dWeightGradient") device.launch(kernel, n);
  else device.launchOver(kernel, n);
}

export function convKernels({ device }: Context): Kernels {
  const run = (pass: Pass, to: CudaView, operands: Convolution<CudaView>, attrs: unknown): void => {
    if (numel(to.shape) === 0) return;
    const all = { ...operands, attrs: attrs as Attrs };
    const shapes = { x: all.x.shape, w: all.w.shape, y: all.y.shape };
    if (!takesTiles(pass, to.dtype, shapes, all.attrs.groups)) plainly(device, pass, all);
    else if (pass === "conv2dWeightGradient") weightByTiles(device, all);
    else dataByTiles(device, pass, all);
  };
  return {
    conv2d: { inputs: "contiguous", run: ([x, w], [y], attrs) => run("conv2d", y!, { x: x!, w: w!, y: y! }, attrs) },
    conv2dInputGradient: {
      inputs: "contiguous",
      run: ([y, w], [x], attrs) => run("conv2dInputGradient", x!, { x: x!, w: w!, y: y! }, attrs),
    },
    conv2dWeightGradient: {
      inputs: "contiguous",
      run: ([y, x], [w], attrs) => run("conv2dWeightGradient", w!, { x: x!, w: w!, y: y! }, attrs),
    },
  };
}
