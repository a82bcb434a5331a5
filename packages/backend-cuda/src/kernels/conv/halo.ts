import { dtypes } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import { type Convolution, type DataPass, type DataSizes, dataSizes, shapesOf } from "./operands.ts";
import { tileRows } from "./tiles.ts";

/** As in convHalo.cu. */
const PIXELS = 128;
const WIDTHS = [16, 8] as const;
const THREADS = 128;
const DEPTH = 32;
const PITCH = DEPTH + 8;
const LONG = 8;
/** Three blocks share a multiprocessor. */
const MOST_SHARED = 72 * 1024;

/** How many pixels blocks of a width compute, those that are not there included. */
function pixelsOf({ to: [images, , height, width] }: DataSizes, wide: number): number {
  const tall = PIXELS / wide;
  return Math.ceil((images * height) / tall) * tall * Math.ceil(width / wide) * wide;
}

/** By a block's halo in shared memory: without strides, in 16-bit floats, of channels enough. False, and nothing is done, elsewhere. */
export function dataByHalo(device: CudaDevice, pass: DataPass, one: Convolution): boolean {
  const { x, w, y, stride, padding, dilation, groups } = one;
  const { dtype } = w;
  const sizes = dataSizes(pass, shapesOf(one), groups);
  const { from, to, kernel, rows, channels, ...steps } = sizes;
  const [images, , height, width] = to;
  const parts = Math.ceil(channels / DEPTH);
  if ((dtype !== "bf16" && dtype !== "f16") || stride.some((s) => s !== 1) || parts * DEPTH > 2 * channels)
    return false;
  const wide = WIDTHS.reduce((best, next) => (pixelsOf(sizes, next) < pixelsOf(sizes, best) ? next : best));
  const tall = PIXELS / wide;
  // A block's rows go on into the next image only where its taps do so alike.
  if (from[2] !== height && height % tall !== 0) return false;
  const sign = pass === "conv2d" ? 1 : -1;
  const [shift, tap] = [padding.map((v) => -sign * v), dilation.map((v) => sign * v)];
  const reach = kernel.map((k, d) => (k - 1) * dilation[d]!);
  const halo = [tall + reach[0]!, wide + reach[1]!] as const;
  const start = shift.map((v, d) => v - (sign < 0 ? reach[d]! : 0));
  const ofTile = tileRows(dtype, rows);
  const places = halo[0] * halo[1] + 1;
  const sharedBytes = places * (2 * dtypes[dtype].bytes * PITCH + LONG);
  if (sharedBytes > MOST_SHARED) return false;

  const [taps, tilesDown] = [kernel[0] * kernel[1], Math.ceil(rows / ofTile)];
  const rowTiles = (tilesDown * ofTile) / 16;
  const elements = groups * parts * taps * rowTiles * 16 * DEPTH;
  const unit = {
    files: ["tensorCore", "convHalo"],
    types: { T: cTypes[dtype] },
    constants: { ROWS: ofTile, WIDE: wide },
  };
  const [byTap, convHalo] = [device.kernel(unit, "convByTap"), device.kernel(unit, "convHalo", sharedBytes)];
  device.withWorkspace(elements * dtypes[dtype].bytes, (weights) => {
    const turn = device.parameters.start().pointer(addressOf(w)).pointer(weights).long(elements);
    turn.ints([rows, channels, taps, rowTiles, parts, steps.weightGroup, steps.weightRow, steps.weightChannel]);
    device.launchOver(byTap, elements);
    const [source, target] = pass === "conv2d" ? [x, y] : [y, x];
    const tilesAcross = Math.ceil(width / wide);
    const p = device.parameters.start().pointer(weights).pointer(addressOf(source)).pointer(addressOf(target));
    p.ints([rows, channels, rowTiles, parts, from[2], from[3], images, height, width]);
    p.ints([...kernel, ...shift, ...tap, ...halo, ...start, tilesDown, tilesAcross]);
    const blocks = tilesDown * tilesAcross * Math.ceil((images * height) / tall);
    device.launch(convHalo, blocks, 1, groups, THREADS, sharedBytes);
  });
  return true;
}
