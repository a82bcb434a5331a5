import { Device, type LoadedKernel } from "./device/device.ts";
import { chooseTier, type TierName } from "./device/tier.ts";
import type { Multiply } from "./multiply.ts";
import { emitRegisterSums, operationsOf, REGISTER_SUMS } from "./registerSums.ts";

export interface PeakOptions {
  readonly tier?: TierName;
  readonly threads: number;
}

/** Keeps this machine's multiply-add units busy in a tier's instructions: the peak that kernels are compared with. */
export class PeakMeter implements Disposable {
  readonly #device: Device;
  readonly #peak: LoadedKernel;
  readonly #sums: number;

  private constructor(device: Device, multiply: Multiply, sums: number) {
    this.#device = device;
    this.#sums = sums;
    this.#peak = device.load((m) => emitRegisterSums(m, multiply, "peak", sums), ["peak"]).peak;
  }

  /** Undefined for the tier "scalar". */
  static make({ tier, threads }: PeakOptions): PeakMeter | undefined {
    const choice = chooseTier(tier);
    if (choice.tier === undefined) return undefined;
    const device = new Device({ tier: choice.tier, threads, memoryLimitBytes: 2 ** 20 });
    return new PeakMeter(device, choice.tier.multiply, choice.name === "wide" ? 2 * REGISTER_SUMS : REGISTER_SUMS);
  }

  /** Float32 operations a second in the middle one of `rounds` rounds, each of about 0.3 ms. */
  measure(rounds = 31): number {
    const units = 40_000 * this.#device.threads;
    const times = Array.from({ length: rounds }, () => {
      const start = performance.now();
      this.#device.run(this.#peak, { units, nanosecondsPerUnit: 10 });
      return performance.now() - start;
    }).sort((a, b) => a - b);
    return (units * operationsOf(this.#sums)) / (times[rounds >> 1]! / 1000);
  }

  /** Ends its threads. */
  [Symbol.dispose](): void {
    this.#device.stop();
  }
}
