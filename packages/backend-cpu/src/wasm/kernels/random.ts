import { type FusedKernels, numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import type { Device } from "../device/device.ts";
import { emitDropout, emitRandomBits, PHILOX_ALIGN } from "../rows/philox.ts";
import { floatBits } from "./floatBits.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "randomBits"> & Required<Pick<FusedKernels<TypedArray>, "dropout">>;

/** About how long a word of the generator takes. */
const WORD_NANOSECONDS = 0.9;

/** The generator's words and what draws them. The counter of a block is 32 bits here: enough for any tensor of the heap. */
export function randomKernels(device: Device): Kernels {
  const { multiply } = device.tier;
  const { randomBits, dropout } = device.load(
    (m) => {
      emitRandomBits(m, multiply);
      emitDropout(m, multiply);
    },
    ["randomBits", "dropout"],
  );
  const work = (units: number) => ({ units, align: PHILOX_ALIGN, nanosecondsPerUnit: WORD_NANOSECONDS });
  return {
    randomBits: {
      run: (_, [y], { key }) => device.run(randomBits, work(numel(y!.shape)), device.addressOf(y!), key[0], key[1]),
    },
    dropout: {
      inputs: "contiguous",
      run: ([x], [y], { p, key }) => {
        const threshold = Math.ceil(p * 2 ** 24);
        const at = [device.addressOf(x!), device.addressOf(y!)];
        device.run(dropout, work(numel(y!.shape)), ...at, key[0], key[1], threshold, floatBits(1 / (1 - p)));
      },
    },
  };
}
