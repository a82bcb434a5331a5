import { dtypes, type FusedKernels, numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaView } from "../device/device.ts";
import { cTypes, wordType } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { sortLines } from "./sort.ts";
import { around, type Split } from "./split.ts";

type Kernels = Pick<PrimitiveKernels<Block>, "take" | "scatterAdd" | "takeAlong" | "scatterAddAlong"> &
  Required<Pick<FusedKernels<Block>, "scatterAddTo">>;

export function gatherKernels({ device }: Context): Kernels {
  const read = (
    name: "take" | "takeAlong",
    x: CudaView,
    indices: CudaView,
    y: CudaView,
    split: Split,
    count: number,
  ): void => {
    const kernel = device.kernel({ files: ["chain", "gather"], types: { WORD: wordType(x.dtype) } }, name);
    const n = numel(y.shape);
    const p = device.parameters.start().pointer(addressOf(x)).pointer(addressOf(indices)).pointer(addressOf(y));
    p.pointer(device.faults.address).long(n).long(split.size).long(count).long(split.inner);
    device.launchOver(kernel, n);
  };
  const scatterUnit = (y: CudaView, { pack = 1, isAdded = false } = {}) => ({
    files: ["gather", "scatter"],
    types: { WORD: "u32", T: cTypes[y.dtype] },
    constants: { PACK: pack, TO: Number(isAdded) },
  });
  /** Sums of updates, into y or added to it. */
  const scatter = (indices: CudaView, updates: CudaView, y: CudaView, axis: number, isAdded: boolean): void => {
    const { size, inner } = around(y.shape, axis);
    const n = numel(y.shape);
    const count = numel(indices.shape);
    if (n === 0) return;
    // 16 bytes of neighbours a thread, where they lie so.
    const most = 16 / dtypes[y.dtype].bytes;
    const isPacked = inner % most === 0 && [updates, y].every((v) => addressOf(v) % 16 === 0);
    const pack = isPacked ? most : 1;
    const unit = scatterUnit(y, { pack, isAdded });
    sortLines(
      device,
      { key: "u32", lines: 1, size: count, bits: Math.max(1, Math.ceil(Math.log2(size + 1))) },
      {
        writeKeys: (keys) => {
          const kernel = device.kernel(unit, "indexKeys");
          const p = device.parameters.start().pointer(addressOf(indices)).pointer(keys);
          p.pointer(device.faults.address).long(count).long(size);
          device.launchOver(kernel, count);
        },
        use: (sorted, order) =>
          device.withWorkspace(8 * (size + 1), (starts) => {
            const find = device.kernel(unit, "placeStarts");
            device.parameters.start().pointer(sorted).pointer(starts).long(size).long(count);
            device.launchOver(find, size + 1);
            const kernel = device.kernel(unit, "scatterAdd");
            const p = device.parameters.start().pointer(addressOf(updates)).pointer(starts).pointer(order);
            p.pointer(addressOf(y))
              .long(n / pack)
              .long(size)
              .long(count)
              .long(inner);
            device.launchOver(kernel, n / pack);
          }),
      },
    );
  };
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
      run: ([indices, updates], [y], { axis }) => scatter(indices!, updates!, y!, axis, false),
    },
    scatterAddTo: {
      inputs: "contiguous",
      dtypes: ["f32"],
      run: ([, indices, updates], [y], { axis }) => scatter(indices!, updates!, y!, axis, true),
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
