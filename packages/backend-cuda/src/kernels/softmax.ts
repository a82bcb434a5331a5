import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, addressOr0, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { launchRows, MOST_OF_BLOCK, rowUnit } from "./rows.ts";

type Kernels = Pick<
  FusedKernels<Block>,
  "softmax" | "softmaxBackward" | "logSoftmax" | "crossEntropy" | "crossEntropyBackward" | "crossEntropyWithGradient"
>;

/** Elements of a row that one block of crossEntropyBackward takes. */
const PART = 4096;
/** Threads of a block that holds a row in shared memory, and what it needs there besides. */
const HOLDING = 512;
const BESIDES = 1024;

export function softmaxKernels({ device, elementwise }: Context): Kernels {
  const unit = ({ dtype }: CudaView) => ({
    files: ["chain", "rows", "gather", "softmax"],
    types: { WORD: "u32", T: cTypes[dtype] },
    constants: { PART },
  });
  const overRows = (name: string, x: CudaView, gradient: CudaView | undefined, y: CudaView): void => {
    const length = x.shape[x.shape.length - 1]!;
    const rows = length === 0 ? 0 : numel(x.shape) / length;
    const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOr0(gradient)).pointer(addressOf(y));
    p.long(rows).int(length);
    launchRows(device, unit(x), name, { rows, length, operands: [x, gradient, y] });
  };
  /** Rows of a vocabulary are summed in packs of 16 bytes: those that begin between packs are copied, so that the order is the same. */
  const fromPacks = (x: CudaView, use: (x: CudaView) => void): void => {
    if (addressOf(x) % 16 === 0) {
      use(x);
      return;
    }
    const bytes = numel(x.shape) * dtypes[x.dtype].bytes;
    device.withWorkspace(bytes, (address) => {
      const copy: CudaView = { ...x, data: { address, bytes }, offset: 0 };
      elementwise.copy(x, copy);
      use(copy);
    });
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
  /** Whether shared memory holds a row, in packs. */
  const holdsRow = (bytes: number): boolean => bytes % 16 === 0 && bytes + BESIDES <= device.sharedBytes;
  const withGradient = (x: CudaView, targets: CudaView, dx: CudaView, loss: CudaView): void => {
    const [rows, length] = x.shape as unknown as [number, number];
    const bytes = length * dtypes[x.dtype].bytes;
    if (rows === 0) return;
    if (!holdsRow(bytes)) {
      device.withWorkspace(rows * dtypes[loss.dtype].bytes, (lse) => {
        crossEntropy(x, targets, addressOf(loss), lse);
        pull(x, targets, lse, 0, dx);
      });
      return;
    }
    const unitOfRows = rowUnit(unit(x), { rows, length, operands: [x, dx] });
    const kernel = device.kernel(unitOfRows, "crossEntropyWithGradient", device.sharedBytes - BESIDES);
    const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(targets)).pointer(addressOf(dx));
    p.pointer(addressOf(loss)).pointer(device.faults.address).int(length);
    device.launch(kernel, rows, 1, 1, HOLDING, bytes);
  };
  /** Rows too long for a block's registers by shared memory, where that holds one. */
  const softmaxOf = (name: "softmax" | "logSoftmax", x: CudaView, y: CudaView): void => {
    const length = x.shape[x.shape.length - 1]!;
    const bytes = length * dtypes[x.dtype].bytes;
    const rows = length === 0 ? 0 : numel(x.shape) / length;
    if (length <= MOST_OF_BLOCK || !holdsRow(bytes)) overRows(name, x, undefined, y);
    else if (rows > 0) {
      fromPacks(x, (given) => {
        const unitOfRows = rowUnit(unit(x), { rows, length, operands: [given, y] });
        const kernel = device.kernel(unitOfRows, `${name}Held`, device.sharedBytes - BESIDES);
        device.parameters.start().pointer(addressOf(given)).pointer(addressOf(y)).int(length);
        device.launch(kernel, rows, 1, 1, HOLDING, bytes);
      });
    }
  };
  return {
    softmax: { inputs: "contiguous", run: ([x], [y]) => softmaxOf("softmax", x!, y!) },
    logSoftmax: { inputs: "contiguous", run: ([x], [y]) => softmaxOf("logSoftmax", x!, y!) },
    softmaxBackward: { inputs: "contiguous", run: ([x, g], [y]) => overRows("softmaxBackward", x!, g!, y!) },
    crossEntropy: {
      inputs: "contiguous",
      writesInside: true,
      run: ([x, targets], [loss, lse]) =>
        fromPacks(x!, (rows) => crossEntropy(rows, targets!, addressOf(loss!), addressOf(lse!))),
    },
    crossEntropyBackward: {
      inputs: "contiguous",
      run: ([x, targets, lse, g], [dx]) => pull(x!, targets!, addressOf(lse!), addressOf(g!), dx!),
    },
    crossEntropyWithGradient: {
      inputs: "contiguous",
      writesInside: true,
      run: ([given, targets], [dx, loss]) => fromPacks(given!, (x) => withGradient(x, targets!, dx!, loss!)),
    },
  };
}
