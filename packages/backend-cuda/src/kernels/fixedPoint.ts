import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import type { Parameters } from "../device/parameters.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

export interface Step {
  readonly fractionBits: number;
  readonly sign: 1 | -1;
  readonly row?: number;
}

/** Where a step counts: three words of the record, or nowhere. */
export const countsAt = (record: CudaView | undefined, { row = 0 }: Step): number =>
  record === undefined ? 0 : addressOf(record) + 12 * row;

/** What one element's step needs of the attributes: the scale, and the bound from which an increment saturates. */
export const packStep = (p: Parameters, { fractionBits }: Step): Parameters =>
  p.float(2 ** fractionBits).float(2 ** (31 - fractionBits));

export function fixedPointAdd(
  device: CudaDevice,
  [x, f]: readonly [CudaView, CudaView],
  [y, record]: readonly [CudaView, CudaView | undefined],
  step: Step,
): void {
  const n = numel(x.shape);
  if (n === 0) return;
  const kernel = device.kernel(
    { files: ["chain", "fixedPoint", "fixedPointAdd"], types: { F: cTypes[f.dtype] } },
    "fixedPointAdd",
  );
  const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(f));
  p.pointer(addressOf(y)).pointer(countsAt(record, step)).long(n);
  const isAligned = [x, f, y].every((view) => addressOf(view) % (4 * dtypes[view.dtype].bytes) === 0);
  packStep(p, step).int(step.sign).int(Number(isAligned));
  device.launch(kernel, Math.ceil(n / (4 * THREADS)));
}

export const fixedPointKernels = ({ device }: Context): Pick<FusedKernels<Block>, "fixedPointAdd"> => ({
  fixedPointAdd: {
    inputs: "contiguous",
    run: ([x, f], [y, record], step) => fixedPointAdd(device, [x!, f!], [y!, record], step),
  },
});
