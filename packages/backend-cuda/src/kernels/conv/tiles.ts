import { type DType, dtypes, numel, type Shape } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import { sumColumns } from "../columns.ts";
import { forwardLattice, gradientLattices, type Lattice } from "./lattice.ts";
import { type Convolution, type DataPass, dataSizes, type Four, type Pass, type Roles, shapesOf } from "./operands.ts";

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
export function takesTiles(pass: Pass, dtype: DType, { x, w, y }: Roles<Shape>, groups: number): boolean {
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
export function tileRows(dtype: DType, rows: number): number {
  const cost = (of: number): number => of * Math.ceil(rows / of);
  return tiles[dtype]!.rows.reduce((best, of) => (cost(of) <= cost(best) ? of : best));
}

function tilesKernel(device: CudaDevice, name: string, dtype: DType, out: DType, rows: number): number {
  const files = dtype === "f32" ? ["tileFloat", "convTiles"] : ["tensorCore", "tileHalf", "convTiles"];
  return device.kernel({ files, types: { T: cTypes[dtype], Y: cTypes[out] }, constants: { ROWS: rows } }, name);
}

/** Writes y from x, or x from y. */
export function dataByTiles(device: CudaDevice, pass: DataPass, one: Convolution): void {
  const { x, w, y, stride, padding, dilation, groups } = one;
  const [source, target] = pass === "conv2d" ? [x, y] : [y, x];
  const { from, to, kernel, rows, channels, ...steps } = dataSizes(pass, shapesOf(one), groups);
  const [down, across] = ([0, 1] as const).map((d) => {
    const axis = { to: to[2 + d]!, kernel: kernel[d], stride: stride[d], padding: padding[d], dilation: dilation[d] };
    return pass === "conv2d" ? [forwardLattice(axis)] : gradientLattices(axis);
  }) as [Lattice[], Lattice[]];
  const ofTile = tileRows(target.dtype, rows);
  const tilesDown = Math.ceil(rows / ofTile);
  const [images, , height, width] = to;
  const { bytes } = dtypes[target.dtype];
  const convData = tilesKernel(device, "convData", target.dtype, target.dtype, ofTile);
  for (const v of down)
    for (const h of across) {
      // Pixels that no tap reaches are sums of nothing.
      const hasTaps = v.taps * h.taps > 0;
      const p = device.parameters.start();
      p.pointer(addressOf(w) + bytes * (v.tap * kernel[1] + h.tap)).pointer(addressOf(source));
      p.pointer(addressOf(target) + bytes * (v.first * width + h.first));
      p.ints([rows, hasTaps ? channels : 0, from[2], from[3], images, v.count, h.count]);
      p.ints(hasTaps ? [v.taps, h.taps] : [1, 1]);
      p.ints([steps.weightGroup, steps.weightRow, steps.weightChannel, v.tapStep * kernel[1], h.tapStep]);
      p.ints([v.scale, h.scale, v.shift, h.shift, v.move, h.move]);
      p.ints([height * width, v.step * width, h.step, tilesDown, 0]);
      const pixels = images * v.count * h.count;
      device.launch(convData, tilesDown * Math.ceil(pixels / TILE_COLUMNS), 1, groups, THREADS);
    }
}

/** How a weight's gradient is cut into runs of pixels, which are added up afterwards: follows from the shape alone. */
function runsOf(pixels: number, blocks: number, step: number): { readonly runs: number; readonly run: number } {
  const wanted = Math.max(1, Math.min(Math.floor(BLOCKS / blocks), Math.floor(pixels / LEAST_RUN)));
  const run = step * Math.ceil(pixels / wanted / step);
  return { runs: Math.ceil(pixels / run), run };
}

/** Writes w from x and y. */
export function weightByTiles(device: CudaDevice, { x, w, y, stride, padding, dilation, groups }: Convolution): void {
  const [out, perGroup, kh, kw] = w.shape as Four;
  const [images, , height, width] = y.shape as Four;
  const rows = out / groups;
  const ofTile = tileRows(w.dtype, rows);
  const [tilesDown, tilesAcross] = [Math.ceil(rows / ofTile), Math.ceil((perGroup * kh * kw) / TILE_COLUMNS)];
  const { runs, run } = runsOf(images * height * width, tilesDown * tilesAcross * groups, tiles[w.dtype]!.step);
  const launch = (address: number, dtype: DType): void => {
    const kernel = tilesKernel(device, "convWeights", w.dtype, dtype, ofTile);
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
