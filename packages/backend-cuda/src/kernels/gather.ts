import { numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { cTypes, wordType } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { sortLines } from "./sort.ts";
import { around, type Split } from "./split.ts";

type Kernels = Pick<PrimitiveKernels<Block>, "take" | "scatterAdd" | "takeAlong" | "scatterAddAlong">;

export function gatherKernels({ device }: Context): Kernels {
  const read = (
    name: "take" | "takeAlong",
    x: CudaView,
    indices: CudaView,
    y: CudaView,
    split: Split,
    count: number,
  ): void => {
    const kernel = device.kernel({ files: ["gather"], types: { WORD: wordType(x.dtype) } }, name);
    const n = numel(y.shape);
    const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(indices)).pointer(addressOf(y));
    p.pointer(device.faults.address).long(n).long(split.size).long(count).long(split.inner);
    device.launchOver(kernel, n);
  };
  const scatterUnit = (y: CudaView) => ({ files: ["gather", "scatter"], types: { WORD: "u32", T: cTypes[y.dtype] } });
  return {
    take: {
      inputs: "contiguous",
      run: ([x, indices], [y], { axis }) =>
        read("take", x!, indices!, y!, around(x!.shape, axis), numel(indices!.shape)),
    },
    takeAlong: {
      inputs: "contiguous",
      run: ([x, indices], [y], { axis }) =>
        read("takeAlong", x!, indices!, y!, around(x!.shape, axis), indices!.shape[axis]!),
    },
    scatterAdd: {
      inputs: "contiguous",
      run: ([indices, updates], [y], { axis }) => {
        const { size, inner } = around(y!.shape, axis);
        const n = numel(y!.shape);
        const count = numel(indices!.shape);
        const unit = scatterUnit(y!);
        if (n === 0) return;
        sortLines(
          device,
          { key: "u32", lines: 1, size: count, bits: Math.max(1, Math.ceil(Math.log2(size + 1))) },
          {
            writeKeys: (keys) => {
              const kernel = device.kernel(unit, "indexKeys");
              const p = device.parameters.start().pointer(addressOf(indices!)).pointer(keys);
              p.pointer(device.faults.address).long(count).long(size);
              device.launchOver(kernel, count);
            },
            use: (sorted, order) => {
              const kernel = device.kernel(unit, "scatterAdd");
              const p = device.parameters.start().pointer(addressOf(updates!)).pointer(sorted).pointer(order);
              p.pointer(addressOf(y!)).long(n).long(size).long(count).long(inner);
              device.launchOver(kernel, n);
            },
          },
        );
      },
    },
    scatterAddAlong: {
      inputs: "contiguous",
      run: ([indices, updates], [y], { axis }) => {
        const { size, inner } = around(y!.shape, axis);
        const n = numel(y!.shape);
        const kernel = device.kernel(scatterUnit(y!), "scatterAddAlong");
        const p = device.parameters.start().pointer(addressOf(updates!)).pointer(addressOf(indices!));
        p.pointer(addressOf(y!)).pointer(device.faults.address);
        p.long(n).long(size).long(indices!.shape[axis]!).long(inner);
        device.launchOver(kernel, n);
      },
    },
  };
}
