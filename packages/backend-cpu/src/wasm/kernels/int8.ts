import { type BufferView, numel, type TypedArray } from "@revnet-zero/tensor";
import type { Device, LoadedKernel } from "../device/device.ts";
import { emitInt8, WORDS } from "../int8/product.ts";
import { batchSteps, stepTo } from "./batch.ts";

type View = BufferView<TypedArray>;
type Loaded = Readonly<Record<"words" | "tiles", LoadedKernel>>;

/** Generated at the first product of bytes. */
const loaded = new WeakMap<Device, Loaded>();
function kernelsOf(device: Device): Loaded {
  let found = loaded.get(device);
  if (found === undefined) {
    found = device.load(emitInt8, ["words", "tiles"]);
    loaded.set(device, found);
  }
  return found;
}

const ALIGN = 2;
/** Multiply-adds a nanosecond, roughly. */
const PER_NANOSECOND = 25;

/** y = a · b of i8 in i32, over broadcast batch axes, all strides. */
export function multiplyInt8(device: Device, a: View, b: View, y: View): void {
  const [rows, columns] = y.shape.slice(-2) as [number, number];
  const k = a.shape[a.shape.length - 1]!;
  const batch = y.shape.slice(0, -2);
  if (numel(y.shape) === 0) return;
  if (k === 0) {
    y.data.fill(0, 0, numel(y.shape));
    return;
  }
  const { words, tiles } = kernelsOf(device);
  const steps = WORDS * Math.ceil(k / WORDS);
  const [left, right] = [rows, columns].map((lines) => device.heap.allocate("i16", lines * steps)) as [
    TypedArray,
    TypedArray,
  ];
  const widen = (at: number, lineBytes: number, stepBytes: number, lines: number, to: TypedArray): void =>
    device.run(words, { units: lines, nanosecondsPerUnit: k }, at, lineBytes, stepBytes, to.byteOffset, k, 2 * steps);
  const [aSteps, bSteps] = [batchSteps(a, batch), batchSteps(b, batch)];
  const [aRow, aColumn] = a.strides.slice(-2) as [number, number];
  const [bRow, bColumn] = b.strides.slice(-2) as [number, number];
  for (let i = 0; i < numel(batch); i++) {
    widen(device.addressOf(a) + stepTo(i, batch, aSteps), aRow, aColumn, rows, left);
    widen(device.addressOf(b) + stepTo(i, batch, bSteps), bColumn, bRow, columns, right);
    const c = y.data.byteOffset + 4 * i * rows * columns;
    const work = (units: number) => ({
      units,
      align: ALIGN,
      nanosecondsPerUnit: (rows * columns * k) / units / PER_NANOSECOND,
    });
    // The longer side is divided for threads.
    if (rows >= columns)
      device.run(tiles, work(rows), columns, 2 * steps, left.byteOffset, right.byteOffset, c, 4 * columns, 4);
    else device.run(tiles, work(columns), rows, 2 * steps, right.byteOffset, left.byteOffset, c, 4, 4 * columns);
  }
  device.heap.free(left);
  device.heap.free(right);
}
