import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { launchRows } from "./rows.ts";

type Kernels = Pick<
  FusedKernels<Block>,
  "softmax" | "softmaxBackward" | "logSoftmax" | "crossEntropy" | "crossEntropyBackward"
>;

export function softmaxKernels({ device }: Context): Kernels {
  const unit = ({ dtype }: CudaView) => ({
    files: ["rows", "gather", "softmax"],
    types: { WORD: "u32", T: cTypes[dtype] },
  });
  const overRows = (name: string, x: CudaView, gradient: CudaView | undefined, y: CudaView): void => {
    const length = x.shape[x.shape.length - 1]!;
    const rows = length === 0 ? 0 : numel(x.shape) / length;
    const p = device.parameters
      .start()
      .pointer(addressOf(x))
      .pointer(gradient === undefined ? 0 : addressOf(gradient));
    p.pointer(addressOf(y)).long(rows).int(length);
    launchRows(device, unit(x), name, rows, length);
  };
  return {
    softmax: { inputs: "contiguous", run: ([x], [y]) => overRows("softmax", x!, undefined, y!) },
    logSoftmax: { inputs: "contiguous", run: ([x], [y]) => overRows("logSoftmax", x!, undefined, y!) },
    softmaxBackward: { inputs: "contiguous", run: ([x, g], [y]) => overRows("softmaxBackward", x!, g!, y!) },
    crossEntropy: {
      inputs: "contiguous",
      run: ([x, targets], [loss, lse]) => {
        const [rows, length] = x!.shape as unknown as [number, number];
        const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(targets!));
        p.pointer(addressOf(loss!)).pointer(addressOf(lse!)).pointer(device.faults.address).long(rows).int(length);
        launchRows(device, unit(x!), "crossEntropy", rows, length);
      },
    },
    crossEntropyBackward: {
      inputs: "contiguous",
      run: ([x, targets, lse, g], [dx]) => {
        const [rows, length] = x!.shape as unknown as [number, number];
        const parts = Math.ceil(length / 1024);
        if (rows * parts === 0) return;
        const kernel = device.kernel(unit(x!), "crossEntropyBackward");
        const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(targets!));
        p.pointer(addressOf(lse!)).pointer(addressOf(g!)).pointer(addressOf(dx!)).int(length).int(parts);
        device.launch(kernel, rows * parts);
      },
    },
  };
}
