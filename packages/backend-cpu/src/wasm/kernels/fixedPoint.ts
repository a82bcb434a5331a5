import { type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import type { Device } from "../device/device.ts";
import { emitFixedPointAdd } from "../rows/fixedPointAdd.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { serve } from "./serve.ts";

type Kernel = NonNullable<FusedKernels<TypedArray>["fixedPointAdd"]>;

/** The coupling step of the reversible streams, of increments in float32 or, under autocast, bfloat16. Counts are sums of whole numbers, so threads may add theirs in any order. */
export function fixedPointKernel(device: Device, elementwise: ElementwiseKernels): Kernel {
  const { fixedPointAdd } = device.load((m) => emitFixedPointAdd(m), ["fixedPointAdd"]);
  const inFloat32: Kernel = {
    inputs: "contiguous",
    run: ([x, f], [y, counts], { fractionBits, sign }) => {
      const units = numel(x!.shape);
      counts!.data.fill(0);
      const addresses = [x!, f!, y!, counts!].map((v) => device.addressOf(v));
      device.run(fixedPointAdd, { units, align: 16, nanosecondsPerUnit: 0.5 }, ...addresses, fractionBits, sign);
    },
  };
  return serve(device, elementwise, inFloat32, undefined);
}
