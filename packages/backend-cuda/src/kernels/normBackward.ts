import { type DType, dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, addressOr0, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import { sumColumns } from "./columns.ts";
import type { Context } from "./context.ts";
import { wideType } from "./reduce.ts";
import { launchRows, MOST_OF_WARP, rowSize, rowUnit } from "./rows.ts";

type Kernels = Pick<FusedKernels<Block>, "layerNormBackward" | "rmsNormBackward" | "addNormBackward">;

/** Rows of one partial sum for the gradient of a parameter, at least; and the most partial sums: a block for each of an H100's multiprocessors. */
const LEAST_ROWS = 32;
const MOST_PARTS = 132;
const WARPS: number = THREADS / 32;

/** Shared memory of a block whose warps take rows of a length: a row each, then their sums of weight and bias, which are folded. */
function sharedOf(length: number, read: readonly DType[], sums: DType): number {
  const row = read.reduce((sum, dtype) => sum + 16 * Math.ceil((length * dtypes[dtype].bytes) / 16), 0);
  return WARPS * Math.max(row, 2 * 4 * Math.ceil(length / 4) * dtypes[sums].bytes);
}

interface Views {
  readonly x: CudaView;
  /** Where x is a fixed-point stream. */
  readonly fractionBits?: number | undefined;
  readonly weight: CudaView;
  readonly mean: CudaView | undefined;
  readonly inverse: CudaView;
  readonly gradient: CudaView;
  readonly direct?: CudaView | undefined;
  readonly dx: CudaView;
  /** dx again, in another type. */
  readonly low?: CudaView | undefined;
  readonly byWeight: CudaView;
  readonly byBias: CudaView | undefined;
}

function pull(device: CudaDevice, views: Views): void {
  const { x, fractionBits, weight, mean, inverse, gradient, direct, dx, low, byWeight, byBias } = views;
  const [rows, length] = [numel(inverse.shape), weight.shape[0]!];
  if (length === 0) return;
  const parts = Math.max(1, Math.min(MOST_PARTS, Math.ceil(rows / LEAST_ROWS)));
  const held = wideType(weight.dtype);
  const bytes = parts * length * dtypes[held].bytes;
  device.withWorkspace(2 * bytes, (sums) => {
    const types = {
      ...{ X: cTypes[x.dtype], T: cTypes[weight.dtype] },
      ...{ G: cTypes[gradient.dtype], L: cTypes[(low ?? weight).dtype] },
    };
    const has = (view: CudaView | undefined): number => Number(view !== undefined);
    const constants = {
      HAS_MEAN: has(mean),
      HAS_DIRECT: has(direct),
      HAS_LOW: has(low),
      IS_STREAM: Number(fractionBits !== undefined),
    };
    const unit = { files: ["chain", "rows", "rowsAhead", "normBackward"], types, constants };
    const of = { rows, length, operands: [x, weight, gradient, direct, dx, low] };
    const pack = (): void => {
      const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(weight)).pointer(addressOr0(mean));
      p.pointer(addressOf(inverse)).pointer(addressOf(gradient)).pointer(addressOr0(direct)).pointer(addressOf(dx));
      p.pointer(addressOr0(low))
        .pointer(sums)
        .pointer(sums + bytes)
        .long(rows)
        .long(Math.ceil(rows / parts))
        .int(length)
        .float(2 ** -(fractionBits ?? 0));
    };
    pack();
    if (rowSize(length) === "Warp") {
      const read = [x, gradient, direct].flatMap((view) => (view === undefined ? [] : [view.dtype]));
      // Allowed once a kernel, which rows of several lengths share.
      const most = Math.min(device.sharedBytes, sharedOf(MOST_OF_WARP, read, held));
      const kernel = device.kernel(rowUnit(unit, of), "normBackwardWarp", most);
      device.launch(kernel, parts, 1, 1, THREADS, sharedOf(length, read, held));
    } else {
      launchRows(device, unit, "normBackward", of);
      pack();
      device.launch(device.kernel(rowUnit(unit, of), "normParameters"), Math.ceil(length / THREADS), parts);
    }
    sumColumns(device, { dtype: held, address: sums, rows: parts, length }, held, byWeight, byBias);
  });
}

export const normBackwardKernels = ({ device }: Context): Kernels => ({
  layerNormBackward: {
    inputs: "contiguous",
    run: ([x, weight, mean, inverse, gradient], [dx, byWeight, byBias]) => {
      const given = { x: x!, weight: weight!, mean, inverse: inverse!, gradient: gradient! };
      pull(device, { ...given, dx: dx!, byWeight: byWeight!, byBias });
    },
  },
  rmsNormBackward: {
    inputs: "contiguous",
    run: ([x, weight, inverse, gradient], [dx, byWeight]) => {
      const given = { x: x!, weight: weight!, mean: undefined, inverse: inverse!, gradient: gradient! };
      pull(device, { ...given, dx: dx!, byWeight: byWeight!, byBias: undefined });
    },
  },
  addNormBackward: {
    inputs: "contiguous",
    run: ([x, weight, ...rest], [dx, ...outputs], { hasMean, to, fractionBits }) => {
      const mean = hasMean ? rest.shift() : undefined;
      const [inverse, gradient, direct] = rest;
      const low = to === undefined ? undefined : outputs.shift();
      const [byWeight, byBias] = outputs;
      const given = { x: x!, weight: weight!, mean, inverse: inverse!, gradient: gradient!, direct };
      pull(device, { ...given, fractionBits, dx: dx!, low, byWeight: byWeight!, byBias });
    },
  },
});
