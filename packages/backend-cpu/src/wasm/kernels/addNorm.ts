import { type BufferView, contiguous, type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import { identity } from "../../plain/copy.ts";
import { plainKernels } from "../../plain/index.ts";
import type { Device, LoadedKernel } from "../device/device.ts";
import { emitAddNorm, emitFixedPointAddNorm } from "../rows/addNorm.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { withCounts } from "./fixedPoint.ts";
import { floatBits } from "./floatBits.ts";
import { rowsOf } from "./rows.ts";

type View = BufferView<TypedArray>;
type Kernels = Required<Pick<FusedKernels<TypedArray>, "addNorm" | "fixedPointAddNorm">>;

/** Residual sums with the norm behind them, which may be rounded to 16 bits. Other types than float32 round the sum between two kernels. */
export function addNormKernels(device: Device, elementwise: ElementwiseKernels): Kernels {
  const { multiply } = device.tier;
  const loaded = device.load(
    (m) => {
      for (const hasMean of [true, false]) {
        const kind = hasMean ? "Layer" : "Rms";
        emitAddNorm(m, multiply, `add${kind}`, hasMean);
        emitFixedPointAddNorm(m, multiply, `fixedPointAdd${kind}`, hasMean);
      }
    },
    ["addLayer", "addRms", "fixedPointAddLayer", "fixedPointAddRms"],
  );
  const run = (
    [layer, rms]: readonly [LoadedKernel, LoadedKernel],
    [x, r, weight, bias]: readonly View[],
    [sum, y, first, second]: readonly View[],
    eps: number,
    rest: readonly number[],
  ): void => {
    if (y!.dtype !== "f32") {
      const data = device.heap.allocate("f32", numel(y!.shape));
      const wide: View = { data, dtype: "f32", ...contiguous(y!.shape) };
      run(
        [layer, rms],
        [x!, r!, weight!, ...(bias === undefined ? [] : [bias])],
        [sum!, wide, first!, second!],
        eps,
        rest,
      );
      if (!elementwise.run(identity, undefined, [wide], y!)) plainKernels.copy.run([wide], [y!], undefined);
      device.heap.free(data);
      return;
    }
    const { size, rows } = rowsOf(x!);
    const hasMean = bias !== undefined;
    const [mean, inverse] = hasMean ? [first, second] : [undefined, first];
    const at = [x, r, sum, weight, bias, y, mean, inverse].map((v) => (v === undefined ? 0 : device.addressOf(v)));
    const work = { units: rows, nanosecondsPerUnit: size };
    device.run(hasMean ? layer : rms, work, ...at, size, floatBits(size), floatBits(eps), ...rest);
  };
  return {
    addNorm: {
      inputs: "contiguous",
      dtypes: ["f32"],
      run: (inputs, outputs, { eps }) => run([loaded.addLayer, loaded.addRms], inputs, outputs, eps, []),
    },
    fixedPointAddNorm: {
      inputs: "contiguous",
      dtypes: ["f32"],
      run: (inputs, outputs, { eps, fractionBits, sign, row }) => {
        const record = row === undefined ? undefined : inputs.at(-1);
        const operands = record === undefined ? inputs : inputs.slice(0, -1);
        const kernels = [loaded.fixedPointAddLayer, loaded.fixedPointAddRms] as const;
        withCounts(device, record, row ?? 0, (at) => run(kernels, operands, outputs, eps, [at, fractionBits, sign]));
      },
    },
  };
}
