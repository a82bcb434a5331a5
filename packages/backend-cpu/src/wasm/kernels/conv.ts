import { type BufferView, numel, type PrimitiveKernels, type Shape, type TypedArray } from "@revnet-zero/tensor";
import { emitConv } from "../conv/conv.ts";
import { type Geometry, geometryFields, unfolded } from "../conv/geometry.ts";
import type { Device, LoadedKernel } from "../device/device.ts";

type View = BufferView<TypedArray>;
type Kernels = Pick<PrimitiveKernels<TypedArray>, "conv2d" | "conv2dInputGradient" | "conv2dWeightGradient">;
type Attrs = Parameters<Kernels["conv2d"]["run"]>[2];
type Loaded = Readonly<Record<"conv" | "convInputGradient" | "convWeightGradient", LoadedKernel>>;

/** Multiply-adds a nanosecond, roughly: only to tell whether threads are worth waking. */
const PER_NANOSECOND = 15;
/** Taps a unit of a gradient takes, if one channel has no more. */
const tapsAtOnce = { input: 192, weight: 128 } as const;
/** Outputs a unit of the weight's gradient takes: all of a block of the product, fewer where there would be few units. */
const outputsAtOnce = { many: 192, few: 48, fewUnits: 8 } as const;

function geometryOf(x: Shape, w: Shape, y: Shape, { stride, padding, dilation, groups }: Attrs): Geometry {
  const [height, width] = x.slice(2) as [number, number];
  const [outputs, channels, kernelHeight, kernelWidth] = w as [number, number, number, number];
  const [rows, columns] = y.slice(2) as [number, number];
  const [[strideY, strideX], [paddingY, paddingX], [dilationY, dilationX]] = [stride, padding, dilation];
  return {
    ...{ groups, channels, height, width, outputs: outputs / groups, kernelHeight, kernelWidth },
    ...{ strideY, strideX, paddingY, paddingX, dilationY, dilationX, rows, columns },
  };
}

/** Convolutions on the matrix product, an image's windows unfolded block by block. */
export function convKernels(device: Device): Kernels {
  let known: Loaded | undefined;
  const loaded = (): Loaded => {
    const { tile, multiply } = device.tier;
    known ??= device.load((m) => emitConv(m, tile, multiply), ["conv", "convInputGradient", "convWeightGradient"]);
    return known;
  };
  /** Runs with the geometry in memory; a sum of nothing is zero. */
  const run = (target: View, operands: readonly View[], geometry: Geometry, start: (at: number) => void): void => {
    if (numel(target.shape) === 0) return;
    if (operands.some((v) => numel(v.shape) === 0)) {
      target.data.fill(0, 0, numel(target.shape));
      return;
    }
    const words = device.heap.allocate("i32", geometryFields.length);
    words.set(geometryFields.map((name) => geometry[name]));
    start(words.byteOffset);
    device.heap.free(words);
  };
  const at = (v: View): number => device.addressOf(v);
  const macs = (y: Shape, { channels, kernelHeight, kernelWidth }: Geometry): number =>
    numel(y) * channels * kernelHeight * kernelWidth;
  const work = (units: number, total: number) => ({ units, nanosecondsPerUnit: total / PER_NANOSECOND / units });
  const channelsAtOnce = (
    { channels, kernelHeight, kernelWidth }: Geometry,
    most: number,
  ): readonly [number, number] => {
    const some = Math.max(1, Math.min(channels, Math.floor(most / (kernelHeight * kernelWidth))));
    return [some, Math.ceil(channels / some)];
  };
  return {
    conv2d: {
      inputs: "contiguous",
      run: ([x, w], [y], attrs) => {
        const geometry = geometryOf(x!.shape, w!.shape, y!.shape, attrs);
        const blocks = Math.ceil((geometry.rows * geometry.columns) / unfolded.positions);
        const units = x!.shape[0]! * geometry.groups * blocks;
        run(y!, [x!, w!], geometry, (sizes) =>
          device.run(loaded().conv, work(units, macs(y!.shape, geometry)), sizes, at(x!), at(w!), at(y!), blocks),
        );
      },
    },
    conv2dInputGradient: {
      inputs: "contiguous",
      run: ([g, w], [dx], attrs) => {
        const geometry = geometryOf(dx!.shape, w!.shape, g!.shape, attrs);
        const [some, blocks] = channelsAtOnce(geometry, tapsAtOnce.input);
        const units = dx!.shape[0]! * geometry.groups * blocks;
        run(dx!, [g!, w!], geometry, (sizes) => {
          const job = work(units, macs(g!.shape, geometry));
          device.run(loaded().convInputGradient, job, sizes, at(g!), at(w!), at(dx!), some, blocks);
        });
      },
    },
    conv2dWeightGradient: {
      inputs: "contiguous",
      run: ([g, x], [dw], attrs) => {
        const geometry = geometryOf(x!.shape, dw!.shape, g!.shape, attrs);
        const [some, blocks] = channelsAtOnce(geometry, tapsAtOnce.weight);
        const { many, few, fewUnits } = outputsAtOnce;
        const outputs = geometry.groups * blocks < fewUnits ? few : many;
        const bands = Math.ceil(geometry.outputs / outputs);
        const images = x!.shape[0]!;
        run(dw!, [g!, x!], geometry, (sizes) => {
          const job = work(geometry.groups * bands * blocks, macs(g!.shape, geometry));
          const division = [images, some, blocks, outputs, bands] as const;
          device.run(loaded().convWeightGradient, job, sizes, at(g!), at(x!), at(dw!), ...division);
        });
      },
    },
  };
}
