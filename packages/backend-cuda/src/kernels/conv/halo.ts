import { dtypes, numel } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import {
  type Convolution,
  type ConvolutionAttrs,
  type DataPass,
  type DataSizes,
  dataSizes,
  shapesOf,
} from "./operands.ts";
import { tileRows } from "./tiles.ts";

/** As in halo.cu and convHalo.cu. */
const PIXELS = 128;
const WIDTHS = [16, 8] as const;
const DEPTH = 32;
const PITCH = DEPTH + 8;
const LONG = 8;
const THREADS = 128;
/** Three blocks share a multiprocessor. */
const MOST_SHARED = 72 * 1024;

/** The pixels of blocks, and what their taps reach of another tensor's 32 channels. */
interface Halo {
  readonly wide: number;
  /** Times 32 channels. */
  readonly parts: number;
  /** Tiles of 128 pixels. */
  readonly tiles: number;
  readonly sharedBytes: number;
  /** As HaloShape of halo.cu. */
  readonly shape: readonly number[];
}

/** Undefined where a halo does not serve: strides, few channels, taps too far apart. A function of shapes alone. */
function haloOf(
  { from, to, channels, kernel }: DataSizes,
  { stride, padding, dilation }: ConvolutionAttrs,
  isForward: boolean,
): Halo | undefined {
  const [images, , height, width] = to;
  const parts = Math.ceil(channels / DEPTH);
  if (stride.some((s) => s !== 1) || parts * DEPTH > 2 * channels) return undefined;
  const tilesOf = (wide: number): number => Math.ceil((images * height * wide) / PIXELS) * Math.ceil(width / wide);
  const wide = WIDTHS.reduce((best, next) => (tilesOf(next) < tilesOf(best) ? next : best));
  const tall = PIXELS / wide;
  // A block's rows go on into the next image only where its taps do so alike.
  if (from[2] !== height && height % tall !== 0) return undefined;
  const reach = kernel.map((k, d) => (k - 1) * dilation[d]!);
  // Of the gradient by the input, taps go the other way.
  const shift = padding.map((v) => (isForward ? -v : v));
  const tap = isForward ? dilation : dilation.map((v) => -v);
  const start = isForward ? shift : shift.map((v, d) => v - reach[d]!);
  const size = [tall + reach[0]!, wide + reach[1]!] as const;
  const sharedBytes = (size[0] * size[1] + 1) * (2 * 2 * PITCH + LONG);
  if (sharedBytes > MOST_SHARED) return undefined;
  const shape = [channels, from[2], from[3], images, height, width, ...shift, ...tap, ...size, ...start];
  return { wide, parts, tiles: tilesOf(wide), sharedBytes, shape: [...shape, Math.ceil(width / wide)] };
}

/** Writes y from x, or x from y; false, and nothing is done, where another kernel is to serve. */
export function dataByHalo(device: CudaDevice, pass: DataPass, one: Convolution): boolean {
  const { x, w, y, groups } = one;
  if (w.dtype !== "bf16" && w.dtype !== "f16") return false;
  const sizes = dataSizes(pass, shapesOf(one), groups);
  const halo = haloOf(sizes, one, pass === "conv2d");
  if (halo === undefined) return false;
  const { rows, channels, kernel, weightGroup, weightRow, weightChannel } = sizes;
  const ofTile = tileRows(w.dtype, rows);
  const tilesDown = Math.ceil(rows / ofTile);
  const rowTiles = (tilesDown * ofTile) / 16;
  const taps = numel(kernel);
  const elements = groups * halo.parts * taps * rowTiles * 16 * DEPTH;
  const types = { T: cTypes[w.dtype] };
  const unit = { files: ["tensorCore", "halo", "convHalo"], types, constants: { WIDE: halo.wide, ROWS: ofTile } };
  const [byTap, convHalo] = [device.kernel(unit, "convByTap"), device.kernel(unit, "convHalo", halo.sharedBytes)];
  device.withWorkspace(elements * dtypes[w.dtype].bytes, (weights) => {
    const turn = device.parameters.start().pointer(addressOf(w)).pointer(weights).long(elements);
    turn.ints([rows, channels, taps, rowTiles, halo.parts, weightGroup, weightRow, weightChannel]);
    device.launchOver(byTap, elements);
    const [from, to] = pass === "conv2d" ? [x, y] : [y, x];
    const p = device.parameters.start().pointer(weights).pointer(addressOf(from)).pointer(addressOf(to));
    p.ints([rows, rowTiles, halo.parts, ...kernel, tilesDown, ...halo.shape]);
    device.launch(convHalo, tilesDown * halo.tiles, 1, groups, THREADS, halo.sharedBytes);
  });
  return true;
}
