import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

export const ropeKernels = ({ device }: Context): Pick<FusedKernels<Block>, "rope"> => ({
  rope: {
    inputs: "contiguous",
    run: ([x, positions], [y], { base, direction }) => {
      const [time, dim] = x!.shape.slice(-2) as [number, number];
      const [half, pairs] = [dim / 2, numel(x!.shape) / 2];
      const kernel = device.kernel({ files: ["rope"], types: { T: cTypes[x!.dtype] } }, "rope");
      const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(positions!)).pointer(addressOf(y!));
      p.long(pairs)
        .double(-Math.log(base) / half)
        .int(time)
        .int(half)
        .int(direction);
      device.launchOver(kernel, pairs);
    },
  },
});
