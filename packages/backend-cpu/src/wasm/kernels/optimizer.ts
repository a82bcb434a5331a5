import { type BufferView, type FusedKernels, isContiguous, numel, type TypedArray } from "@revnet-zero/tensor";
import { plainKernels } from "../../plain/index.ts";
import type { Device } from "../device/device.ts";
import { emitAdamw, emitLion, emitSquares, NORM_BLOCK } from "../rows/optimizer.ts";
import { floatBits } from "./floatBits.ts";

type Kernels = Required<Pick<FusedKernels<TypedArray>, "adamw" | "globalNorm" | "lion">>;

/** The `at`-th number of a contiguous view. */
const numberAt = ({ data, offset }: BufferView<TypedArray>, at = 0): number => data[offset + at]!;

export function optimizerKernels(device: Device): Kernels {
  const { multiply } = device.tier;
  const { squares, adamw, lion } = device.load(
    (m) => {
      emitSquares(m, multiply);
      emitAdamw(m, multiply);
      emitLion(m, multiply);
    },
    ["squares", "adamw", "lion"],
  );
  const plain = plainKernels as unknown as Kernels;
  return {
    globalNorm: {
      run: (inputs, [y], attrs) => {
        if (inputs.some((x) => x.dtype !== "f32" || !isContiguous(x))) {
          plain.globalNorm.run(inputs, [y!], attrs);
          return;
        }
        let total = 0;
        for (const x of inputs) {
          const size = numel(x.shape);
          if (size === 0) continue;
          const blocks = Math.ceil(size / NORM_BLOCK);
          const sums = device.heap.allocate("f64", blocks) as Float64Array;
          const work = { units: blocks, nanosecondsPerUnit: 0.3 * NORM_BLOCK };
          device.run(squares, work, device.addressOf(x), size, sums.byteOffset);
          for (const sum of sums) total += sum;
          device.heap.free(sums);
        }
        y!.data[0] = Math.sqrt(total);
      },
    },
    adamw: {
      ...plain.adamw,
      run: (inputs, outputs, attrs) => {
        if (inputs.some((x) => x.dtype !== "f32" || !isContiguous(x))) {
          plain.adamw.run(inputs, outputs, attrs);
          return;
        }
        const { beta1, beta2, eps, weightDecay } = attrs;
        if (!Number.isFinite(numberAt(inputs[0]!))) return;
        const [learningRate, ...corrections] = [0, 1, 2].map((k) => numberAt(inputs[1]!, k)) as [
          number,
          number,
          number,
        ];
        const constants = [learningRate, beta1, 1 - beta1, beta2, 1 - beta2, ...corrections, eps, weightDecay];
        const bits = constants.map(floatBits);
        const factor = device.addressOf(inputs[0]!);
        for (let i = 2, o = 0; i < inputs.length; i += 4, o += 3) {
          const gradient = inputs[i + 1]!;
          const at = outputs.slice(o, o + 3).map((view) => device.addressOf(view));
          const work = { units: numel(gradient.shape), align: 16, nanosecondsPerUnit: 1 };
          device.run(adamw, work, device.addressOf(gradient), factor, ...at, ...bits);
        }
      },
    },
    lion: {
      ...plain.lion,
      run: (inputs, outputs, attrs) => {
        if (inputs.some((x) => x.dtype !== "f32" || !isContiguous(x))) {
          plain.lion.run(inputs, outputs, attrs);
          return;
        }
        const { beta1, beta2, weightDecay } = attrs;
        if (!Number.isFinite(numberAt(inputs[0]!))) return;
        const bits = [numberAt(inputs[1]!), beta1, 1 - beta1, beta2, 1 - beta2, weightDecay].map(floatBits);
        const factor = device.addressOf(inputs[0]!);
        for (let i = 2, o = 0; i < inputs.length; i += 3, o += 2) {
          const gradient = inputs[i + 1]!;
          const at = outputs.slice(o, o + 2).map((view) => device.addressOf(view));
          const work = { units: numel(gradient.shape), align: 16, nanosecondsPerUnit: 0.8 };
          device.run(lion, work, device.addressOf(gradient), factor, ...at, ...bits);
        }
      },
    },
  };
}
