import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import type { Parameters } from "../device/parameters.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

/** Saturated increments, wrapped sums, NaN increments. */
const COUNTS = 3;

export interface Step {
  readonly fractionBits: number;
  readonly sign: 1 | -1;
}

/** What one element's step needs of the attributes: the scale, and the bound from which an increment saturates. */
export const packStep = (p: Parameters, { fractionBits }: Step): Parameters =>
  p.float(2 ** fractionBits).float(2 ** (31 - fractionBits));

/**
 * Makes ready what a kernel of so many blocks counts in: a block that is alone stores its counts, others add theirs up. In a graph not by the
 * driver's own fill, which no kernel starts beside.
 */
export function clearCounts(device: CudaDevice, counts: CudaView, blocks: number): void {
  if (blocks === 1) return;
  if (!device.graphs.isCapturing) {
    device.fill(addressOf(counts), 0, COUNTS * dtypes.i32.bytes);
    return;
  }
  const kernel = device.kernel({ files: ["chain", "fill"], types: { T: "u32" } }, "fill");
  device.parameters.start().pointer(addressOf(counts)).words(0, 0).long(COUNTS);
  device.launchOver(kernel, COUNTS);
}

export function fixedPointAdd(
  device: CudaDevice,
  [x, f]: readonly [CudaView, CudaView],
  [y, counts]: readonly [CudaView, CudaView],
  step: Step,
): void {
  const n = numel(x.shape);
  const blocks = Math.ceil(n / (4 * THREADS));
  clearCounts(device, counts, blocks);
  if (n === 0) return;
  const kernel = device.kernel(
    { files: ["chain", "fixedPoint", "fixedPointAdd"], types: { F: cTypes[f.dtype] } },
    "fixedPointAdd",
  );
  const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(f));
  p.pointer(addressOf(y)).pointer(addressOf(counts)).long(n);
  const isAligned = [x, f, y].every((view) => addressOf(view) % (4 * dtypes[view.dtype].bytes) === 0);
  packStep(p, step).int(step.sign).int(Number(isAligned));
  device.launch(kernel, blocks);
}

export const fixedPointKernels = ({ device }: Context): Pick<FusedKernels<Block>, "fixedPointAdd"> => ({
  fixedPointAdd: {
    inputs: "contiguous",
    run: ([x, f], [y, counts], step) => fixedPointAdd(device, [x!, f!], [y!, counts!], step),
  },
});
