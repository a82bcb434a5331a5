import { type FusedKernels, numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView, THREADS } from "../device/device.ts";
import { cTypes, type KernelUnit } from "../device/sources.ts";
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
      if (lines === 1 && size >= LEAST_OF_PARTS) sortParts(device, key, { keys, order, size, passes });
      else if (n > 0) {
        const kernel = device.kernel({ files: ["sort"], types: { KEY: key } }, "sortLines");
        device.parameters.start().pointer(keys).pointer(order).long(lines).long(size).int(passes);
        device.launch(kernel, lines);
      }
      const half = (passes % 2) * n;
      use(keys + half * keyBytes, order + half * 4);
    }),
  );
}

/** A line of so many keys is sorted by many blocks, whose threads take at least so many keys each and are at most so many: counts are summed by one block. */
const LEAST_OF_PARTS = 4096;
const LEAST_OF_PART = 8;
const MOST_PARTS = 2 ** 16;

interface OneLine {
  readonly keys: number;
  readonly order: number;
  readonly size: number;
  readonly passes: number;
}

function sortParts(device: CudaDevice, key: "u32" | "u64", { keys, order, size, passes }: OneLine): void {
  const length = Math.max(LEAST_OF_PART, Math.ceil(size / MOST_PARTS));
  const blocks = Math.ceil(size / length / THREADS);
  const parts = blocks * THREADS;
  const unit = { files: ["sort"], types: { KEY: key } };
  device.withWorkspace(16 * parts * 4, (counts) => {
    for (let pass = 0; pass < passes; pass++) {
      for (const [name, across, threads] of [
        ["countDigits", blocks, THREADS],
        ["sumCounts", 1, 1024],
        ["moveByDigit", blocks, THREADS],
      ] as const) {
        const kernel = device.kernel(unit, name);
        const p = device.parameters.start().pointer(keys).pointer(order).pointer(counts).long(size);
        p.ints([length, parts, pass]);
        device.launch(kernel, across, 1, 1, threads);
      }
    }
  });
}

/** How many of the largest of a line a kernel keeps; for more than these, lines are sorted. */
const few = [1, 4, 16] as const;

/** A line of [outer, size, inner] as keys that count up in the wanted order. */
const unitOf = ({ dtype }: CudaView, file: string): KernelUnit => ({
  files: file === "sortKeys" ? [file] : ["sortKeys", file],
  types: { T: cTypes[dtype], KEY: dtype === "f64" ? "u64" : "u32" },
});

/** The first k of every line in order, with their positions. */
function sortFirst(
  device: CudaDevice,
  [x, values, positions]: readonly [CudaView, CudaView, CudaView],
  { axis, descending, k }: { readonly axis: number; readonly descending: boolean; readonly k: number },
): void {
  const { outer, size, inner } = around(x.shape, axis);
  const lines = outer * inner;
  const [key, bits] = x.dtype === "f64" ? (["u64", 64] as const) : (["u32", 32] as const);
  const unit = unitOf(x, "sortKeys");
  sortLines(
    device,
    { key, lines, size, bits },
    {
      writeKeys: (keys) => {
        const kernel = device.kernel(unit, "sortKeys");
        const p = device.parameters
          .start()
          .pointer(addressOf(x))
          .pointer(keys)
          .long(lines * size);
        p.ints([size, inner, Number(descending)]);
        device.launchOver(kernel, lines * size);
      },
      use: (_, order) => {
        const kernel = device.kernel(unit, "sortPick");
        const p = device.parameters.start().pointer(addressOf(x)).pointer(order);
        p.pointer(addressOf(values)).pointer(addressOf(positions));
        p.long(lines * k).ints([size, inner, k]);
        device.launchOver(kernel, lines * k);
      },
    },
  );
}

/** Lines that a block of eight warps takes. */
const LINES = 8;

export function sortKernels({
  device,
}: Context): Pick<PrimitiveKernels<Block>, "sort"> & Pick<FusedKernels<Block>, "topk"> {
  return {
    sort: {
      inputs: "contiguous",
      run: ([x], [values, positions], { axis, descending }) => {
        if (numel(x!.shape) === 0) return;
        sortFirst(device, [x!, values!, positions!], { axis, descending, k: x!.shape[axis]! });
      },
    },
    topk: {
      inputs: "contiguous",
      run: ([x], [values, positions], { axis, k }) => {
        if (numel(values!.shape) === 0) return;
        const kept = few.find((most) => k <= most);
        if (kept === undefined) {
          sortFirst(device, [x!, values!, positions!], { axis, descending: true, k });
          return;
        }
        const { outer, size, inner } = around(x!.shape, axis);
        const kernel = device.kernel({ ...unitOf(x!, "topk"), constants: { FEW: kept } }, "topkFew");
        const p = device.parameters.start().pointer(addressOf(x!)).pointer(addressOf(values!));
        p.pointer(addressOf(positions!))
          .long(outer * inner)
          .ints([size, inner, k]);
        device.launch(kernel, Math.ceil((outer * inner) / LINES));
      },
    },
  };
}
