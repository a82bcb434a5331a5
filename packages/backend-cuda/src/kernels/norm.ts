import { type BufferView, dtypes, type FusedKernels, numel, ops } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { fixedPointAdd, packStep } from "./fixedPoint.ts";
import { wideType } from "./reduce.ts";
import { launchRows, MOST_OF_BLOCK, MOST_OF_WARP } from "./rows.ts";

type Kernels = Pick<
  FusedKernels<Block>,
  "layerNorm" | "rmsNorm" | "layerNormBackward" | "rmsNormBackward" | "fixedPointAddNorm"
>;

/** Rows that one thread sums for the gradient of a parameter, at least; and the most parts of a sum. */
const LEAST_ROWS = 32;
const MOST_PARTS = 512;

interface NormViews {
  /** Address of the rows, or 0 where they are no buffer. */
  readonly x: number;
  readonly weight: CudaView;
  readonly bias: CudaView | undefined;
  readonly y: CudaView;
  readonly mean: CudaView | undefined;
  readonly inverse: CudaView;
}

function packNorm(device: CudaDevice, { x, weight, bias, y, mean, inverse }: NormViews, eps: number): void {
  const p = device.parameters.start().pointer(x).pointer(addressOf(weight));
  p.pointer(bias === undefined ? 0 : addressOf(bias)).pointer(addressOf(y));
  p.pointer(mean === undefined ? 0 : addressOf(mean)).pointer(addressOf(inverse));
  p.long(numel(inverse.shape)).double(eps).int(weight.shape[0]!).pad();
}

function norm(device: CudaDevice, views: NormViews, eps: number): void {
  const unit = { files: ["rows", "norm"], types: { T: cTypes[views.y.dtype] } };
  packNorm(device, views, eps);
  launchRows(device, unit, "norm", numel(views.inverse.shape), views.weight.shape[0]!);
}

/** Gradients by input, weight and, where there is a mean, bias. */
function backward(
  device: CudaDevice,
  [x, weight, mean, inverse, gradient]: readonly [CudaView, CudaView, CudaView | undefined, CudaView, CudaView],
  [dx, byWeight, byBias]: readonly [CudaView, CudaView, CudaView | undefined],
): void {
  const [rows, length] = [numel(inverse.shape), weight.shape[0]!];
  const unit = { files: ["rows", "normBackward"], types: { T: cTypes[x.dtype] } };
  const meanAddress = mean === undefined ? 0 : addressOf(mean);
  const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(weight)).pointer(meanAddress);
  p.pointer(addressOf(inverse)).pointer(addressOf(gradient)).pointer(addressOf(dx)).long(rows).int(length);
  p.int(mean === undefined ? 0 : 1);
  if (length > 0) launchRows(device, unit, "normBackward", rows, length);

  const parts = Math.max(1, Math.min(MOST_PARTS, Math.floor(rows / LEAST_ROWS)));
  const held = wideType(x.dtype);
  const bytes = parts * length * dtypes[held].bytes;
  device.withWorkspace(bytes, (weights) =>
    device.withWorkspace(bytes, (biases) => {
      if (length === 0) return;
      const kernel = device.kernel(unit, "normParameters");
      const q = device.parameters.start().pointer(addressOf(x)).pointer(meanAddress).pointer(addressOf(inverse));
      q.pointer(addressOf(gradient)).pointer(weights).pointer(biases);
      q.long(rows)
        .long(Math.ceil(rows / parts))
        .int(length)
        .int(mean === undefined ? 0 : 1);
      device.launch(kernel, Math.ceil(length / THREADS), parts);
      const whole = { from: held, length, parts };
      sumParts(device, { ...whole, partial: weights, y: byWeight });
      if (byBias !== undefined) sumParts(device, { ...whole, partial: biases, y: byBias });
    }),
  );
}

interface Parts {
  readonly from: "f32" | "f64" | "i32";
  readonly partial: number;
  readonly y: CudaView;
  readonly length: number;
  readonly parts: number;
}

/** y[c] = the sum over parts of partial[part, c] */
function sumParts(device: CudaDevice, { from, partial, y, length, parts }: Parts): void {
  const unit = { files: ["columns"], types: { T: cTypes[from], Y: cTypes[y.dtype] } };
  const kernel = device.kernel(unit, "sumColumns");
  device.parameters.start().pointer(partial).pointer(addressOf(y)).int(parts).int(length);
  device.launch(kernel, Math.ceil(length / 32));
}

/** The statistics an output list names: a layer norm's mean and 1/σ, or an RMS norm's 1/rms. */
const statistics = (views: readonly CudaView[]): [CudaView | undefined, CudaView] =>
  views.length === 2 ? [views[0]!, views[1]!] : [undefined, views[0]!];

export function normKernels({ device, elementwise }: Context): Kernels {
  return {
    layerNorm: {
      inputs: "contiguous",
      run: ([x, weight, bias], [y, mean, inverse], { eps }) =>
        norm(device, { x: addressOf(x!), weight: weight!, bias: bias!, y: y!, mean: mean!, inverse: inverse! }, eps),
    },
    rmsNorm: {
      inputs: "contiguous",
      run: ([x, weight], [y, inverse], { eps }) =>
        norm(
          device,
          { x: addressOf(x!), weight: weight!, bias: undefined, y: y!, mean: undefined, inverse: inverse! },
          eps,
        ),
    },
    layerNormBackward: {
      inputs: "contiguous",
      run: ([x, weight, mean, inverse, g], [dx, byWeight, byBias]) =>
        backward(device, [x!, weight!, mean!, inverse!, g!], [dx!, byWeight!, byBias!]),
    },
    rmsNormBackward: {
      inputs: "contiguous",
      run: ([x, weight, inverse, g], [dx, byWeight]) =>
        backward(device, [x!, weight!, undefined, inverse!, g!], [dx!, byWeight!, undefined]),
    },
    fixedPointAddNorm: {
      inputs: "contiguous",
      run: ([x, f, weight, bias], outputs, { eps, ...step }) => {
        const [out, y] = outputs as [CudaView, CudaView];
        const counts = outputs[outputs.length - 1]!;
        const [mean, inverse] = statistics(outputs.slice(2, -1));
        const views = { weight: weight!, bias, y, mean, inverse };
        const [rows, length] = [numel(inverse.shape), weight!.shape[0]!];
        if (length > MOST_OF_BLOCK) {
          // A row too long to be held: the parts one after the other.
          fixedPointAdd(device, [x!, f!], [out, counts], step);
          device.withWorkspace(4 * rows * length, (address) => {
            const data = { address, bytes: 4 * rows * length };
            const value: BufferView<Block> = { ...out, data, dtype: "f32", offset: 0 };
            elementwise.run(ops.dequantise, { fractionBits: step.fractionBits }, [out], value);
            norm(device, { ...views, x: address }, eps);
          });
          return;
        }
        device.native.fill(addressOf(counts), 0, 12);
        if (rows === 0) return;
        const unit = { files: ["rows", "norm", "fixedPoint", "fixedPointAddNorm"], types: { T: "float" } };
        const isShort = length <= MOST_OF_WARP;
        const kernel = device.kernel(unit, isShort ? "addNormWarp" : "addNormBlock");
        packNorm(device, { ...views, x: 0 }, eps);
        const p = device.parameters.pointer(addressOf(x!)).pointer(addressOf(f!)).pointer(addressOf(out));
        p.pointer(addressOf(counts));
        packStep(p, step)
          .float(2 ** -step.fractionBits)
          .int(step.sign);
        device.launch(kernel, isShort ? Math.ceil(rows / 8) : rows);
      },
    },
  };
}
