import { numel, type PrimitiveKernels, type Shape } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

type Kernels = Pick<PrimitiveKernels<Block>, "conv2d" | "conv2dInputGradient" | "conv2dWeightGradient">;

interface Attrs {
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
}

/** The three shapes of a convolution: input, weight, output. */
type Shapes = readonly [Shape, Shape, Shape];

export function convKernels({ device }: Context): Kernels {
  const run = (
    name: keyof Kernels,
    [a, b, out]: readonly [CudaView, CudaView, CudaView],
    [x, w, y]: Shapes,
    { stride, padding, dilation }: Attrs,
  ): void => {
    const n = numel(out.shape);
    if (n === 0) return;
    const kernel = device.kernel({ files: ["conv"], types: { T: cTypes[out.dtype] } }, name);
    const p = device.parameters.start().pointer(addressOf(a)).pointer(addressOf(b)).pointer(addressOf(out)).long(n);
    p.ints([...x, w[0]!, w[1]!, w[2]!, w[3]!, y[2]!, y[3]!, ...stride, ...padding, ...dilation]);
    // The weight's gradient sums over many places: a block an element.
    if (name === "conv2dWeightGradient") device.launch(kernel, n);
    else device.launchOver(kernel, n);
  };
  return {
    conv2d: {
      inputs: "contiguous",
      run: ([x, w], [y], attrs) => run("conv2d", [x!, w!, y!], [x!.shape, w!.shape, y!.shape], attrs),
    },
    conv2dInputGradient: {
      inputs: "contiguous",
      run: ([g, w], [x], attrs) => run("conv2dInputGradient", [g!, w!, x!], [x!.shape, w!.shape, g!.shape], attrs),
    },
    conv2dWeightGradient: {
      inputs: "contiguous",
      run: ([g, x], [w], attrs) => run("conv2dWeightGradient", [g!, x!, w!], [x!.shape, w!.shape, g!.shape], attrs),
    },
  };
}
