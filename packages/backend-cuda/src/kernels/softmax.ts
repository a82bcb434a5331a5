import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { launchRows, rowUnit } from "./rows.ts";

type Kernels = Pick<
  FusedKernels<Block>,
  "softmax" | "softmaxBackward" | "logSoftmax" | "crossEntropy" | "crossEntropyBackward" | "crossEntropyWithGradient"
>;

/** Elements of a row that one block of crossEntropyBackward takes. */
const PART = 4096;
/** Threads of a block that holds a row in shared memory, and what it needs there besides. */
const HOLDING = 512;
const BESIDES = 1024;

export function softmaxKernels({ device }: Context): Kernels {
  const unit = ({ dtype }: CudaView) => ({
    files: ["rows", "gather", "softmax"],
    types: { WORD: "u32", T: cTypes[dtype] },
    constants: { PART },
  });
  const overRows = (name: string, x: CudaView, gradient: CudaView | undefined, y: CudaView): void => {
    const length = x.shape[x.shape.length - 1]!;
    const rows = length === 0 ? 0 : numel(x.shape) / length;
    const p = device.parameters
      .start()
      .pointer(addressOf(x))
      .pointer(gradient === undefined ? 0 : addressOf(gradient));
    p.pointer(addressOf(y)).long(rows).int(length);
    launchRows(device, unit(x), name, { rows, length, operands: [x, gradient, y] });
  };
  const crossEntropy = (x: CudaView, targets: CudaView, loss: number, lse: number): void => {
    const [rows, length] = x.shape as unknown as [number, number];
    const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(targets));
    p.pointer(loss).pointer(lse).pointer(device.faults.address).long(rows).int(length);
    launchRows(device, unit(x), "crossEntropy", { rows, length, operands: [x] });
  };
  /** The gradient by x; `gradient` is the address of the rows' own, or 0 where all are 1. */
  const pull = (x: CudaView, targets: CudaView, lse: number, gradient: number, dx: CudaView): void => {
    const [rows, length] = x.shape as unknown as [number, number];
    const parts = Math.ceil(length / PART);
    if (rows * parts === 0) return;
    const kernel = device.kernel(rowUnit(unit(x), { rows, length, operands: [x, dx] }), "crossEntropyBackward");
    const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(targets));
    p.pointer(lse).pointer(gradient).pointer(addressOf(dx)).int(length).int(parts);
    device.launch(kernel, rows * parts);
  };
  /** Whether shared memory holds a row of x, in packs. */
  const holdsRow = (x: CudaView, dx: CudaView): boolean => {
    const bytes = x.shape[1]! * dtypes[x.dtype].bytes;
    const isPacked = [bytes, addressOf(x), addressOf(dx)].every((n) => n % 16 === 0);
    return isPacked && bytes + BESIDES <= device.sharedBytes;
  };
  return {
    softmax: { inputs: "contiguous", run: ([x], [y]) => overRows("softmax", x!, undefined, y!) },
    logSoftmax: { inputs: "contiguous", run: ([x], [y]) => overRows("logSoftmax", x!, undefined, y!) },
    softmaxBackward: { inputs: "contiguous", run: ([x, g], [y]) => overRows("softmaxBackward", x!, g!, y!) },
    crossEntropy: {
      inputs: "contiguous",
      run: ([x, targets], [loss, lse]) => crossEntropy(x!, targets!, addressOf(loss!), addressOf(lse!)),
    },
    crossEntropyBackward: {
      inputs: "contiguous",
      run: ([x, targets, lse, g], [dx]) => pull(x!, targets!, addressOf(lse!), addressOf(g!), dx!),
    },
    crossEntropyWithGradient: {
      inputs: "contiguous",
      run: ([x, targets], [dx, loss]) => {
        const [rows, length] = x!.shape as unknown as [number, number];
        if (rows === 0) return;
        if (!holdsRow(x!, dx!)) {
          device.withWorkspace(rows * dtypes[loss!.dtype].bytes, (lse) => {
            crossEntropy(x!, targets!, addressOf(loss!), lse);
            pull(x!, targets!, lse, 0, dx!);
          });
          return;
        }
        const name = "crossEntropyWithGradient";
        const rowsUnit = rowUnit(unit(x!), { rows, length, operands: [x, dx] });
        const kernel = device.kernel(rowsUnit, name, device.sharedBytes - BESIDES);
        const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(targets!)).pointer(addressOf(dx!));
        p.pointer(addressOf(loss!)).pointer(device.faults.address).int(length);
        device.launch(kernel, rows, 1, 1, HOLDING, length * dtypes[x!.dtype].bytes);
      },
    },
  };
}
