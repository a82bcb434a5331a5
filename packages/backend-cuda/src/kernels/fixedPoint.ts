import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import type { Parameters } from "../device/parameters.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

export interface Step {
  readonly fractionBits: number;
  readonly sign: 1 | -1;
}

/** What one element's step needs of the attributes: the scale, and the bound from which an increment saturates. */
export const packStep = (p: Parameters, { fractionBits }: Step): Parameters =>
  p.float(2 ** fractionBits).float(2 ** (31 - fractionBits));

export function fixedPointAdd(
  device: CudaDevice,
  [x, f]: readonly [CudaView, CudaView],
  [y, counts]: readonly [CudaView, CudaView],
  step: Step,
): void {
  device.fill(addressOf(counts), 0, 12);
  const n = numel(x.shape);
  if (n === 0) return;
  const kernel = device.kernel(
    { files: ["chain", "fixedPoint", "fixedPointAdd"], types: { F: cTypes[f.dtype] } },
    "fixedPointAdd",
  );
  const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(f));
  p.pointer(addressOf(y)).pointer(addressOf(counts)).long(n);
  const isAligned = [x, f, y].every((view) => addressOf(view) % (4 * dtypes[view.dtype].bytes) === 0);
  packStep(p, step).int(step.sign).int(Number(isAligned));
  device.launch(kernel, Math.ceil(n / (4 * THREADS)));
}

export const fixedPointKernels = ({ device }: Context): Pick<FusedKernels<Block>, "fixedPointAdd"> => ({
  fixedPointAdd: {
    inputs: "contiguous",
    run: ([x, f], [y, counts], step) => fixedPointAdd(device, [x!, f!], [y!, counts!], step),
  },
});
