import { numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice } from "../device/device.ts";
import { cTypes } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { around } from "./split.ts";

interface Lines {
  readonly key: "u32" | "u64";
  readonly lines: number;
  readonly size: number;
  /** How many low bits of the keys differ. */
  readonly bits: number;
}

interface Steps {
  /** Writes the keys, line after line, at an address. */
  readonly writeKeys: (keys: number) => void;
  /** Given the addresses of the sorted keys and of the positions they came from (u32), which live as long as the call. */
  readonly use: (sorted: number, order: number) => void;
}

/** Sorts lines of keys stably, in workspace. */
export function sortLines(device: CudaDevice, { key, lines, size, bits }: Lines, { writeKeys, use }: Steps): void {
  const n = lines * size;
  const keyBytes = key === "u64" ? 8 : 4;
  device.withWorkspace(2 * n * keyBytes, (keys) =>
    device.withWorkspace(2 * n * 4, (order) => {
      if (n > 0) writeKeys(keys);
      const passes = Math.ceil(bits / 4);
      const kernel = device.kernel({ files: ["sort"], types: { KEY: key } }, "sortLines");
      device.parameters.start().pointer(keys).pointer(order).long(lines).long(size).int(passes);
      if (n > 0) device.launch(kernel, lines);
      const half = (passes % 2) * n;
      use(keys + half * keyBytes, order + half * 4);
    }),
  );
}

export function sortKernels({ device }: Context): Pick<PrimitiveKernels<Block>, "sort"> {
  return {
    sort: {
      inputs: "contiguous",
      run: ([x], [values, positions], { axis, descending }) => {
        const { outer, size, inner } = around(x!.shape, axis);
        const n = numel(x!.shape);
        if (n === 0) return;
        const key = x!.dtype === "f64" ? "u64" : "u32";
        const unit = { files: ["sortKeys"], types: { T: cTypes[x!.dtype], KEY: key } };
        sortLines(
          device,
          { key, lines: outer * inner, size, bits: key === "u64" ? 64 : 32 },
          {
            writeKeys: (keys) => {
              const kernel = device.kernel(unit, "sortKeys");
              const p = device.parameters.start().pointer(addressOf(x!)).pointer(keys).long(n);
              p.int(size)
                .int(inner)
                .int(descending ? 1 : 0);
              device.launchOver(kernel, n);
            },
            use: (_, order) => {
              const kernel = device.kernel(unit, "sortPick");
              const p = device.parameters.start().pointer(addressOf(x!)).pointer(order);
              p.pointer(addressOf(values!)).pointer(addressOf(positions!)).long(n).int(size).int(inner);
              device.launchOver(kernel, n);
            },
          },
        );
      },
    },
  };
}
