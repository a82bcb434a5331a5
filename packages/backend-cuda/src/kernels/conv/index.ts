import { numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Block } from "../../device/allocator.ts";
import type { CudaView } from "../../device/device.ts";
import type { Context } from "../context.ts";
import { dataByHalo } from "./halo.ts";
import { type ConvolutionAttrs, type Pass, type Roles, shapesOf } from "./operands.ts";
import { plainly } from "./plain.ts";
import { byProduct } from "./product.ts";
import { dataByTiles, takesTiles, weightByTiles } from "./tiles.ts";

export function convKernels({ device }: Context): Pick<PrimitiveKernels<Block>, Pass> {
  const run = (pass: Pass, to: CudaView, roles: Roles<CudaView>, attrs: ConvolutionAttrs): void => {
    if (numel(to.shape) === 0) return;
    const one = { ...roles, ...attrs };
    if (!takesTiles(pass, to.dtype, shapesOf(one), attrs.groups)) plainly(device, pass, one);
    else if (byProduct(device, pass, one)) return;
    else if (pass === "conv2dWeightGradient") weightByTiles(device, one);
    else if (!dataByHalo(device, pass, one)) dataByTiles(device, pass, one);
  };
  return {
    conv2d: { inputs: "contiguous", run: ([x, w], [y], attrs) => run("conv2d", y!, { x: x!, w: w!, y: y! }, attrs) },
    conv2dInputGradient: {
      inputs: "contiguous",
      run: ([y, w], [x], attrs) => run("conv2dInputGradient", x!, { x: x!, w: w!, y: y! }, attrs),
    },
    conv2dWeightGradient: {
      inputs: "contiguous",
      run: ([y, x], [w], attrs) => run("conv2dWeightGradient", w!, { x: x!, w: w!, y: y! }, attrs),
    },
  };
}
