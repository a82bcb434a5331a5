import { type BufferView, type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import type { Device } from "../device/device.ts";
import { emitFixedPointAdd } from "../rows/fixedPointAdd.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { serve } from "./serve.ts";

/** Runs a kernel with the address of the three words that it counts in: those of a record's row, or some that nobody reads. */
export function withCounts(
  device: Device,
  record: BufferView<TypedArray> | undefined,
  row: number,
  run: (at: number) => void,
): void {
  if (record !== undefined) {
    run(device.addressOf(record) + 12 * row);
    return;
  }
  const words = device.heap.allocate("i32", 3);
  run(words.byteOffset);
  device.heap.free(words);
}

type Kernel = NonNullable<FusedKernels<TypedArray>["fixedPointAdd"]>;

/** The coupling step of the reversible streams, of increments in float32 or, under autocast, bfloat16. Counts are sums of whole numbers, so threads may add theirs in any order. */
export function fixedPointKernel(device: Device, elementwise: ElementwiseKernels): Kernel {
  const { fixedPointAdd } = device.load((m) => emitFixedPointAdd(m), ["fixedPointAdd"]);
  const inFloat32: Kernel = {
    inputs: "contiguous",
    run: ([x, f], [y, record], { fractionBits, sign, row = 0 }) => {
      const work = { units: numel(x!.shape), align: 16, nanosecondsPerUnit: 0.5 };
      const addresses = [x!, f!, y!].map((v) => device.addressOf(v));
      withCounts(device, record, row, (at) => device.run(fixedPointAdd, work, ...addresses, at, fractionBits, sign));
    },
  };
  return serve(device, elementwise, inFloat32, undefined);
}
