import { type BufferView, type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import { checkTargets } from "../../plain/targets.ts";
import type { Device, LoadedKernel } from "../device/device.ts";
import { emitNorm, emitNormBackward, emitNormParameters } from "../rows/norm.ts";
import {
  emitCrossEntropy,
  emitCrossEntropyBackward,
  emitLogSoftmax,
  emitSoftmax,
  emitSoftmaxBackward,
} from "../rows/softmax.ts";
import { floatBits } from "./floatBits.ts";

type View = BufferView<TypedArray>;
type Kernels = FusedKernels<TypedArray>;

/** Columns that parts of a sum over rows begin at multiples of. */
export const COLUMN_ALIGN = 16;

/** Row length of a view and how many rows it has. */
export const rowsOf = ({ shape }: View): { readonly size: number; readonly rows: number } => ({
  size: shape[shape.length - 1]!,
  rows: numel(shape.slice(0, -1)),
});

/** Runs a kernel on every row; `perElement` is about how many nanoseconds an element takes. */
function runRows(
  device: Device,
  kernel: LoadedKernel,
  of: View,
  perElement: number,
  views: readonly View[],
  ...rest: number[]
): void {
  const { size, rows } = rowsOf(of);
  const at = views.map((v) => device.addressOf(v));
  device.run(kernel, { units: rows, nanosecondsPerUnit: perElement * size }, ...at, size, ...rest);
}

type SoftmaxName = "softmax" | "softmaxBackward" | "logSoftmax" | "crossEntropy" | "crossEntropyBackward";

export function softmaxKernels(device: Device): Required<Pick<Kernels, SoftmaxName>> {
  const { multiply } = device.tier;
  const loaded = device.load(
    (m) => {
      emitSoftmax(m, multiply);
      emitSoftmaxBackward(m, multiply);
      emitLogSoftmax(m, multiply);
      emitCrossEntropy(m, multiply);
      emitCrossEntropyBackward(m, multiply);
    },
    ["softmax", "softmaxBackward", "logSoftmax", "crossEntropy", "crossEntropyBackward"],
  );
  const kernel = (name: SoftmaxName, perElement: number) => ({
    inputs: "contiguous" as const,
    run: (inputs: readonly View[], outputs: readonly View[]) =>
      runRows(device, loaded[name], inputs[0]!, perElement, [...inputs, ...outputs]),
  });
  const crossEntropy = kernel("crossEntropy", 1);
  return {
    softmax: kernel("softmax", 1),
    softmaxBackward: kernel("softmaxBackward", 0.3),
    logSoftmax: kernel("logSoftmax", 1),
    crossEntropy: {
      ...crossEntropy,
      run: (inputs, outputs) => {
        checkTargets(inputs[0]!, inputs[1]!);
        crossEntropy.run(inputs, outputs);
      },
    },
    crossEntropyBackward: kernel("crossEntropyBackward", 0.7),
  };
}

export function normKernels(
  device: Device,
): Required<Pick<Kernels, "layerNorm" | "layerNormBackward" | "rmsNorm" | "rmsNormBackward">> {
  const { multiply } = device.tier;
  const loaded = device.load(
    (m) => {
      for (const hasMean of [true, false]) {
        const name = hasMean ? "layerNorm" : "rmsNorm";
        emitNorm(m, multiply, name, hasMean);
        emitNormBackward(m, multiply, `${name}Backward`, hasMean);
        emitNormParameters(m, multiply, `${name}Parameters`, hasMean);
      }
    },
    ["layerNorm", "layerNormBackward", "layerNormParameters", "rmsNorm", "rmsNormBackward", "rmsNormParameters"],
  );
  const address = (view: View): number => device.addressOf(view);
  const parameters = (kernel: LoadedKernel, x: View, views: readonly number[]): void => {
    const { size, rows } = rowsOf(x);
    const work = { units: size, align: COLUMN_ALIGN, nanosecondsPerUnit: 0.3 * rows };
    device.run(kernel, work, ...views, rows, size);
  };
  const none = 0;
  return {
    layerNorm: {
      inputs: "contiguous",
      run: ([x, weight, bias], [y, mean, inverse], { eps }) => {
        const n = floatBits(rowsOf(x!).size);
        runRows(device, loaded.layerNorm, x!, 0.6, [x!, weight!, bias!, y!, mean!, inverse!], n, floatBits(eps));
      },
    },
    layerNormBackward: {
      inputs: "contiguous",
      run: ([x, weight, mean, inverse, g], [dx, dw, db]) => {
        const n = floatBits(rowsOf(x!).size);
        runRows(device, loaded.layerNormBackward, x!, 0.9, [x!, weight!, mean!, inverse!, g!, dx!], n);
        parameters(loaded.layerNormParameters, x!, [x!, mean!, inverse!, g!, dw!, db!].map(address));
      },
    },
    rmsNorm: {
      inputs: "contiguous",
      run: ([x, weight], [y, inverse], { eps }) => {
        const { size, rows } = rowsOf(x!);
        const at = [address(x!), address(weight!), none, address(y!), none, address(inverse!)];
        const work = { units: rows, nanosecondsPerUnit: 0.5 * size };
        device.run(loaded.rmsNorm, work, ...at, size, floatBits(size), floatBits(eps));
      },
    },
    rmsNormBackward: {
      inputs: "contiguous",
      run: ([x, weight, inverse, g], [dx, dw]) => {
        const { size, rows } = rowsOf(x!);
        const at = [address(x!), address(weight!), none, address(inverse!), address(g!), address(dx!)];
        const work = { units: rows, nanosecondsPerUnit: 0.8 * size };
        device.run(loaded.rmsNormBackward, work, ...at, size, floatBits(size));
        const views = [address(x!), none, address(inverse!), address(g!), address(dw!), none];
        parameters(loaded.rmsNormParameters, x!, views);
      },
    },
  };
}
