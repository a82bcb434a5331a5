import { dtypes, type FusedKernels, numel, type PyramidAttrs, pyramidLevels } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { cTypes, type KernelUnit } from "../device/sources.ts";
import { hasRows, withLayout } from "./attention/operands.ts";
import type { Context } from "./context.ts";

/** Levels above the tokens that a kernel has room for: radices of 2 over more tokens than 32 bits count. */
const MOST_LEVELS = 32;

/** 16 bytes at once, where all rows begin at such; else an element. */
function unitOf(views: readonly CudaView[]): { readonly unit: KernelUnit; readonly pack: number } {
  const { dtype } = views[0]!;
  const most = 16 / dtypes[dtype].bytes;
  const fits = views.every(
    (v) =>
      v.shape[3]! % most === 0 && v.strides.slice(0, 3).every((step) => step % most === 0) && addressOf(v) % 16 === 0,
  );
  const pack = fits ? most : 1;
  return { unit: { files: ["heads", "pyramid"], types: { T: cTypes[dtype] }, constants: { PACK: pack } }, pack };
}

/** The rows of one level among those of all. */
function levelOf(view: CudaView, offset: number): CudaView {
  return { ...view, offset: view.offset + offset * view.strides[2]! };
}

/** The pyramid y of x: level 1 goes along with the copy of the rows themselves. */
function build(device: CudaDevice, x: CudaView, y: CudaView, attrs: PyramidAttrs): void {
  const [b, h, tokens, d] = x.shape as unknown as [number, number, number, number];
  const levels = pyramidLevels(tokens, attrs);
  const { unit, pack } = unitOf([x, y]);
  const packs = d / pack;
  // Where there is no further level, one of single rows: nothing but the copy.
  const above = levels.length === 1 ? [{ ratio: 1, radix: 1, rows: 0, offset: 0 }] : levels.slice(1);
  for (const [l, { radix, rows, offset }] of above.entries()) {
    const before = levels[l]!;
    if (before.rows === 0) return;
    const from = l === 0 ? x : levelOf(y, before.offset);
    const kernel = device.kernel(unit, "pyramidLevel");
    const p = device.parameters.start();
    p.pointer(addressOf(from)).longs(from.strides.slice(0, 3));
    if (l === 0) p.pointer(addressOf(y)).longs(y.strides.slice(0, 3));
    else p.longs([], 4);
    const to = levelOf(y, offset);
    p.pointer(addressOf(to)).longs(to.strides.slice(0, 3));
    p.long(b * h).ints([h, before.rows, rows, radix, before.ratio, tokens, packs]);
    device.launch(kernel, Math.ceil((b * h * Math.ceil(before.rows / radix) * packs) / THREADS));
  }
}

/** The gradient x by the rows of all levels g. */
function share(device: CudaDevice, g: CudaView, x: CudaView, attrs: PyramidAttrs): void {
  const [b, h, tokens, d] = x.shape as unknown as [number, number, number, number];
  const levels = pyramidLevels(tokens, attrs).slice(1);
  const { unit, pack } = unitOf([g, x]);
  const packs = d / pack;
  const kernel = device.kernel(unit, "pyramidShares");
  const p = device.parameters.start();
  for (const view of [g, x]) p.pointer(addressOf(view)).longs(view.strides.slice(0, 3));
  p.long(b * h).ints([h, tokens, packs, levels.length]);
  for (const key of ["radix", "rows", "offset"] as const)
    p.ints(
      levels.map((level) => level[key]),
      MOST_LEVELS,
    );
  device.launch(kernel, Math.ceil((b * h * tokens * packs) / THREADS));
}

export function pyramidKernels(context: Context): Pick<FusedKernels<Block>, "pyramid" | "pyramidGradient"> {
  return {
    pyramid: {
      run: ([x], [y], attrs) => {
        if (numel(y!.shape) === 0) return;
        withLayout(context, [x!], hasRows, ([from]) => build(context.device, from!, y!, attrs));
      },
    },
    pyramidGradient: {
      run: ([g], [x], attrs) => {
        if (numel(x!.shape) === 0) return;
        withLayout(context, [g!], hasRows, ([from]) => share(context.device, from!, x!, attrs));
      },
    },
  };
}
