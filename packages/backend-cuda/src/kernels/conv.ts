import { type DType, dtypes, numel, type PrimitiveKernels, type Shape } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes, type KernelUnit } from "../device/sources.ts";
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
const TILE_ROWS = 64;
const TILE_COLUMNS = 128;
const THREADS = 128;
const steps: { readonly [D in DType]?: number } = { f32: 16, bf16: 32, f16: 32 };
/** Rows, and elements of a group's weight, from which tiles are faster, most of which is then for nothing. */
const LEAST_ROWS = 4;
const LEAST_ELEMENTS = 64;
/** Blocks that fill any device, and pixels that a block is to have at least. */
const BLOCKS = 512;
const LEAST_RUN = 512;
/** What kernels count in 32 bits with a sign. */
const MOST = 2 ** 31 - 1;

const tilesUnit = (dtype: DType, out: DType, isStrided: boolean): KernelUnit => ({
  files: dtype === "f32" ? ["tileFloat", "convTiles"] : ["tensorCore", "tileHalf", "convTiles"],
  types: { T: cTypes[dtype], Y: cTypes[out] },
  constants: { STRIDED: Number(isStrided) },
});

/** Whether tiles serve: their types, channels enough, and places that fit. A function of shapes and types alone. */
export function takesTiles(pass: Pass, dtype: DType, { x, w, y }: Convolution<Shape>, groups: number): boolean {
  const [out, perGroup] = [w[0]! / groups, w[1]!];
  const plane = (shape: Shape): number => numel(shape.slice(1)) / groups;
  const isWide =
    pass === "conv2dWeightGradient"
      ? out * numel(w.slice(1)) >= LEAST_ELEMENTS
      : (pass === "conv2d" ? out : perGroup) >= LEAST_ROWS;
  const pixels = (shape: Shape): number => shape[0]! * shape[2]! * shape[3]!;
  const counts = [pixels(x), pixels(y), plane(x), plane(y), numel(w)];
  return dtype in steps && isWide && counts.every((n) => 0 < n && n <= MOST);
}

interface Operands extends Convolution<CudaView> {
  readonly attrs: Attrs;
}

/** Writes y from x, or x from y. */
function dataByTiles(device: CudaDevice, pass: "conv2d" | "conv2dInputGradient", { x, w, y, attrs }: Operands): void {
  const { stride, padding, dilation, groups } = attrs;
  const isForward = pass === "conv2d";
  const [from, to] = isForward ? [x, y] : [y, x];
  const [out, perGroup, kh, kw] = w.shape as readonly number[] as [number, number, number, number];
  const place = kh * kw;
  const isStrided = !isForward && stride.some((s) => s !== 1);
  const kernel = device.kernel(tilesUnit(to.dtype, to.dtype, isStrided), "convData");
  const rows = isForward ? out / groups : perGroup;
  const tiles = Math.ceil(rows / TILE_ROWS);
  const p = device.parameters.start();
  p.pointer(addressOf(w)).pointer(addressOf(from)).pointer(addressOf(to));
  p.ints([rows, isForward ? perGroup : out / groups, from.shape[2]!, from.shape[3]!]);
  p.ints([to.shape[0]!, to.shape[2]!, to.shape[3]!, kh, kw]);
  p.ints(isForward ? [perGroup * place, place] : [place, perGroup * place]);
  if (isForward) p.ints([...stride, -padding[0], -padding[1], ...dilation, 1, 1]);
  else p.ints([1, 1, ...padding, -dilation[0], -dilation[1], ...stride]);
  p.ints([tiles, 0]);
  const columns = to.shape[0]! * to.shape[2]! * to.shape[3]!;
  device.launch(kernel, tiles * Math.ceil(columns / TILE_COLUMNS), 1, groups, THREADS);
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
  const [tiles, across] = [Math.ceil(rows / TILE_ROWS), Math.ceil((perGroup * kh * kw) / TILE_COLUMNS)];
  const [images, , height, width] = y.shape as readonly number[] as [number, number, number, number];
  const { runs, run } = runsOf(images * height * width, tiles * across * groups, steps[w.dtype]!);
  const launch = (address: number, dtype: DType): void => {
    const kernel = device.kernel(tilesUnit(w.dtype, dtype, false), "convWeights");
    const p = device.parameters.start();
    p.pointer(addressOf(y)).pointer(addressOf(x)).pointer(address);
    p.ints([rows, perGroup, x.shape[2]!, x.shape[3]!, images, height, width, kh, kw, 0, 0]);
    p.ints([...stride, -padding[0], -padding[1], ...dilation, 1, 1, tiles, run]);
    device.launch(kernel, tiles * across, runs, groups, THREADS);
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
