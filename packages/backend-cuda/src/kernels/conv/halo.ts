import { dtypes, numel } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import { sumColumns } from "../columns.ts";
import { type Convolution, type DataPass, dataSizes, type Four, type Pair, shapesOf } from "./operands.ts";
import { tileRows } from "./tiles.ts";

/** As in halo.cu, convHalo.cu and convHaloWeights.cu. */
const PIXELS = 128;
const WIDTHS = [16, 8] as const;
const DEPTH = 32;
const PITCH = DEPTH + 8;
const DATA_THREADS = 128;
const WEIGHT_THREADS = 256;
const WEIGHT_ROWS = 64;
const MOST_TAPS = 9;
const GRADIENT_BYTES = 2 * WEIGHT_ROWS * (PIXELS + 8);
/** Three blocks of data share a multiprocessor, or two of weights. */
const MOST_SHARED = 72 * 1024;
/** Rows and channels of a weight's block, from which most of it is not for nothing. */
const LEAST_ROWS = 32;
/** Blocks that fill any device. */
const BLOCKS = 528;

/** The pixels of blocks, and what their taps reach of another tensor's 32 channels. */
interface Halo {
  readonly wide: number;
  /** Times 32 channels. */
  readonly parts: number;
  /** Tiles of 128 pixels. */
  readonly tiles: number;
  readonly places: number;
  /** As HaloShape of halo.cu. */
  readonly shape: readonly number[];
}

interface Reach {
  /** The tensor that is read, the pixels, and the channels of a group of what is read. */
  readonly from: Four;
  readonly to: Four;
  readonly channels: number;
  readonly kernel: Pair;
  /** 1 where taps go on as places do, -1 where they go back. */
  readonly sign: 1 | -1;
}

/** Undefined where a halo does not serve: strides, few channels, taps too far apart. A function of shapes alone. */
function haloOf(
  { from, to, channels, kernel, sign }: Reach,
  { stride, padding, dilation }: Convolution,
): Halo | undefined {
  const [images, , height, width] = to;
  const parts = Math.ceil(channels / DEPTH);
  if (stride.some((s) => s !== 1) || parts * DEPTH > 2 * channels) return undefined;
  const linesOf = (wide: number): number => Math.ceil((images * height) / (PIXELS / wide));
  const tilesOf = (wide: number): number => linesOf(wide) * Math.ceil(width / wide);
  const wide = WIDTHS.reduce((best, next) => (tilesOf(next) < tilesOf(best) ? next : best));
  // A block's rows go on into the next image only where its taps do so alike.
  if (from[2] !== height && height % (PIXELS / wide) !== 0) return undefined;
  const [shift, tap] = [padding.map((v) => -sign * v), dilation.map((v) => sign * v)];
  const reach = kernel.map((k, d) => (k - 1) * dilation[d]!);
  const size = [PIXELS / wide + reach[0]!, wide + reach[1]!] as const;
  const start = shift.map((v, d) => v - (sign < 0 ? reach[d]! : 0));
  const shape = [channels, from[2], from[3], images, height, width, ...shift, ...tap, ...size, ...start];
  const places = size[0] * size[1] + 1;
  return { wide, parts, tiles: tilesOf(wide), places, shape: [...shape, Math.ceil(width / wide)] };
}

/** So many buffers of places, and where they lie. */
const haloBytes = ({ places }: Halo, buffers: number): number => places * (2 * PITCH * buffers + 8);

const isHalf = ({ w }: Convolution): boolean => w.dtype === "bf16" || w.dtype === "f16";

/** Writes y from x, or x from y; false, and nothing is done, where another kernel is to serve. */
export function dataByHalo(device: CudaDevice, pass: DataPass, one: Convolution): boolean {
  const { x, w, y, groups } = one;
  const { rows, channels, weightGroup, weightRow, weightChannel, ...reach } = dataSizes(pass, shapesOf(one), groups);
  const halo = haloOf({ ...reach, channels, sign: pass === "conv2d" ? 1 : -1 }, one);
  if (!isHalf(one) || halo === undefined) return false;
  const sharedBytes = haloBytes(halo, 2);
  if (sharedBytes > MOST_SHARED) return false;
  const ofTile = tileRows(w.dtype, rows);
  const tilesDown = Math.ceil(rows / ofTile);
  const rowTiles = (tilesDown * ofTile) / 16;
  const taps = numel(reach.kernel);
  const elements = groups * halo.parts * taps * rowTiles * 16 * DEPTH;
  const types = { T: cTypes[w.dtype] };
  const unit = { files: ["tensorCore", "halo", "convHalo"], types, constants: { WIDE: halo.wide, ROWS: ofTile } };
  const [byTap, convHalo] = [device.kernel(unit, "convByTap"), device.kernel(unit, "convHalo", sharedBytes)];
  device.withWorkspace(elements * dtypes[w.dtype].bytes, (weights) => {
    const turn = device.parameters.start().pointer(addressOf(w)).pointer(weights).long(elements);
    turn.ints([rows, channels, taps, rowTiles, halo.parts, weightGroup, weightRow, weightChannel]);
    device.launchOver(byTap, elements);
    const [from, to] = pass === "conv2d" ? [x, y] : [y, x];
    const p = device.parameters.start().pointer(weights).pointer(addressOf(from)).pointer(addressOf(to));
    p.ints([rows, rowTiles, halo.parts, ...reach.kernel, tilesDown, ...halo.shape]);
    device.launch(convHalo, tilesDown * halo.tiles, 1, groups, DATA_THREADS, sharedBytes);
  });
  return true;
}

/** Writes w from x and y; false, and nothing is done, where another kernel is to serve. */
export function weightByHalo(device: CudaDevice, one: Convolution): boolean {
  const { x, w, y, groups } = one;
  const [out, channels, kh, kw] = w.shape as Four;
  const rows = out / groups;
  const reach = { from: x.shape as Four, to: y.shape as Four, channels, kernel: [kh, kw], sign: 1 } as const;
  const halo = haloOf(reach, one);
  if (!isHalf(one) || halo === undefined || kh * kw > MOST_TAPS || rows < LEAST_ROWS) return false;
  const sharedBytes = GRADIENT_BYTES + haloBytes(halo, 1);
  if (sharedBytes > MOST_SHARED) return false;
  const blocks = Math.ceil(rows / WEIGHT_ROWS) * halo.parts;
  const wanted = Math.max(1, Math.min(halo.tiles, Math.floor(BLOCKS / (blocks * groups))));
  const run = Math.ceil(halo.tiles / wanted);
  const [runs, length] = [Math.ceil(halo.tiles / run), numel(w.shape)];
  const unit = {
    files: ["tensorCore", "halo", "convHaloWeights"],
    types: { T: cTypes[w.dtype] },
    constants: { WIDE: halo.wide, KH: kh, KW: kw },
  };
  const kernel = device.kernel(unit, "convHaloWeights", sharedBytes);
  device.withWorkspace(runs * length * dtypes.f32.bytes, (address) => {
    const p = device.parameters.start().pointer(addressOf(y)).pointer(addressOf(x)).pointer(address);
    p.ints([rows, halo.parts, halo.tiles, run, ...halo.shape]);
    device.launch(kernel, blocks, runs, groups, WEIGHT_THREADS, sharedBytes);
    sumColumns(device, { dtype: "f32", address, rows: runs, length }, "f32", w);
  });
  return true;
}
