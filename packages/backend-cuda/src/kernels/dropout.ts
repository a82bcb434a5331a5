import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";

export const dropoutKernels = ({ device }: Context): Pick<FusedKernels<Block>, "dropout"> => ({
  dropout: {
    inputs: "contiguous",
    run: ([x], [y], { p: probability, key }) => {
      const n = numel(x!.shape);
      const isPacked = [x!, y!].every((view) => addressOf(view) % (4 * dtypes[view.dtype].bytes) === 0);
      const types = { T: cTypes[x!.dtype] };
      const unit = { files: ["chain", "random", "dropout"], types, constants: { PACKED: Number(isPacked) } };
      const kernel = device.kernel(unit, "dropout");
      const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(y!)).long(n);
      p.double(1 / (1 - probability))
        .key(device.graphs.placeOf(key), key)
        .int(Math.ceil(probability * 2 ** 24));
      device.launchOver(kernel, Math.ceil(n / 4));
    },
  },
});
