import { type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import type { Device } from "../device/device.ts";
import { type ChannelStepVariant, emitChannelFixedPointAdd } from "../rows/channelFixedPointAdd.ts";

type Kernel = NonNullable<FusedKernels<TypedArray>["channelFixedPointAdd"]>;

const nameOf = ({ dtype, hasChannels }: ChannelStepVariant): string => `${dtype}${hasChannels ? "Channels" : "Same"}`;
const variants: readonly ChannelStepVariant[] = [
  { dtype: "i16", hasChannels: true },
  { dtype: "i16", hasChannels: false },
  { dtype: "i8", hasChannels: true },
  { dtype: "i8", hasChannels: false },
];

/** The coupling step of narrow streams: 8 bytes moved an element of i16. Counts are sums of whole numbers, in any order. */
export function channelFixedPointKernel(device: Device): Kernel {
  const loaded = device.load((m) => {
    for (const v of variants) emitChannelFixedPointAdd(m, nameOf(v), v);
  }, variants.map(nameOf));
  return {
    inputs: "contiguous",
    run: ([x, f, scale], [y, counts], { sign }) => {
      counts!.data.fill(0);
      const elements = numel(x!.shape);
      const hasChannels = scale!.shape.length === 1;
      // With one scale the whole stream is cut into rows of any size.
      const size = hasChannels ? scale!.shape[0]! : Math.min(Math.max(elements, 1), 1024);
      const kernel = loaded[nameOf({ dtype: x!.dtype as "i16" | "i8", hasChannels })]!;
      const addresses = [x!, f!, scale!, y!, counts!].map((v) => device.addressOf(v));
      const rows = Math.floor(elements / Math.max(size, 1));
      device.run(kernel, { units: rows, nanosecondsPerUnit: 0.5 * size }, ...addresses, size, sign);
      const rest = elements - rows * size;
      if (rest === 0) return;
      const start = rows * size;
      const bytes = [x!.data.BYTES_PER_ELEMENT, 4, 0, x!.data.BYTES_PER_ELEMENT, 0];
      const moved = addresses.map((a, i) => a + start * bytes[i]!);
      device.run(kernel, { units: 1, nanosecondsPerUnit: 0.5 * rest }, ...moved, rest, sign);
    },
  };
}
