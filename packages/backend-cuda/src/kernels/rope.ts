import { collapse, dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { wideType } from "./reduce.ts";

/** Times of a block, whose angles it finds once: finding one costs as much as moving ten pairs. And how many angles it holds at most. */
const TIMES = 8;
const MOST_ANGLES = 2048;
/** Loops that the kernel walks the leading axes by. */
const MOST_LOOPS = 4;

export interface RopeAttrs {
  readonly base: number;
  readonly direction: 1 | -1;
}

/** Pairs a thread turns at once: 16 bytes of each coordinate, where both operands allow it. */
function packOf(views: readonly CudaView[], half: number): number {
  const { bytes } = dtypes[views[0]!.dtype];
  const pack = 16 / bytes;
  const fits = views.every(
    (v) =>
      v.strides[v.strides.length - 1] === 1 &&
      v.strides.slice(0, -1).every((step) => step % pack === 0) &&
      addressOf(v) % 16 === 0,
  );
  return fits && half % pack === 0 ? pack : 1;
}

/** Turns x [..., time, dim] at positions [time] into y, which may be x; both of any strides. */
export function rope(device: CudaDevice, [x, positions, y]: readonly CudaView[], { base, direction }: RopeAttrs): void {
  const shape = x!.shape;
  const [time, dim] = shape.slice(-2) as [number, number];
  if (numel(shape) === 0) return;
  const half = dim / 2;
  const lead = shape.slice(0, -2);
  const loops = collapse(lead, [x!.strides.slice(0, -2), y!.strides.slice(0, -2)]);
  if (loops.length > MOST_LOOPS || numel(lead) >= 2 ** 32) {
    // Rows that no four loops reach, or no 32 bits count, a slice of the outermost axis at a time.
    for (let n = 0; n < shape[0]!; n++) {
      const slice = (v: CudaView): CudaView => ({
        ...v,
        shape: v.shape.slice(1),
        strides: v.strides.slice(1),
        offset: v.offset + n * v.strides[0]!,
      });
      rope(device, [slice(x!), positions!, slice(y!)], { base, direction });
    }
    return;
  }
  const rows = numel(lead);
  const pack = packOf([x!, y!], half);
  const times = Math.max(1, Math.min(TIMES, Math.floor(MOST_ANGLES / half)));
  const blockRows = Math.max(1, Math.floor((THREADS * pack) / half));
  const sharedBytes = 2 * times * half * dtypes[wideType(x!.dtype)].bytes;
  const unit = { files: ["chain", "angle", "rope"], types: { T: cTypes[x!.dtype] }, constants: { PACK: pack } };
  const kernel = device.kernel(unit, "rope", device.sharedBytes);
  const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(positions!)).pointer(addressOf(y!));
  for (const [i, v] of [x!, y!].entries()) {
    p.longs(
      loops.map((loop) => loop.strides[i]!),
      MOST_LOOPS,
    );
    p.longs(v.strides.slice(-2));
  }
  p.double(-Math.log(base) / half).long(positions!.strides[0]!);
  p.ints(
    loops.map((loop) => loop.size),
    MOST_LOOPS,
  );
  p.ints([loops.length, rows, time, half, times, blockRows, direction]);
  device.launch(kernel, Math.ceil(time / times) * Math.ceil(rows / blockRows), 1, 1, THREADS, sharedBytes);
}

export const ropeKernels = ({ device }: Context): Pick<FusedKernels<Block>, "rope"> => ({
  rope: { run: ([x, positions], [y], attrs) => rope(device, [x!, positions!, y!], attrs) },
});
