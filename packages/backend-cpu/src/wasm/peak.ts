import { i32, type ModuleBuilder, v128 } from "./assembler/index.ts";
import { Device, type LoadedKernel } from "./device/device.ts";
import { chooseTier, type TierName } from "./device/tier.ts";
import type { Multiply } from "./multiply.ts";

/** Registers of independent sums: enough to hide the latency of two units, few enough for 16. */
const REGISTERS = 12;
const UNROLL = 4;
const LANES = 4;

/** Multiply-adds on registers alone: what no kernel can be faster than. Units are rounds. */
function emitPeak(m: ModuleBuilder, multiply: Multiply, vectors: number): void {
  m.function("peak", ["i32", "i32", "i32"], (f, scratch, from, to) => {
    const round = f.local("i32");
    const factors = f.locals("v128", 2);
    const sums = f.locals("v128", vectors);
    for (const [i, x] of [...factors, ...sums].entries()) f.set(x, v128.load(scratch, 16 * i));
    f.for(round, from, to, 1, () => {
      for (let u = 0; u < UNROLL; u++)
        for (const [i, s] of sums.entries()) f.set(s, multiply.add(factors[i % 2]!, factors[i % 2]!, s));
    });
    for (const [i, s] of sums.entries()) f.do(v128.store(scratch, s, 16 * i));
    f.do(i32.store(scratch, i32.const(0)));
  });
}

export interface PeakOptions {
  readonly tier?: TierName;
  readonly threads: number;
}

/** Keeps this machine's multiply-add units busy in a tier's instructions: the peak that kernels are compared with. */
export class PeakMeter {
  readonly #device: Device;
  readonly #peak: LoadedKernel;
  readonly #vectors: number;

  private constructor(device: Device, multiply: Multiply, vectors: number) {
    this.#device = device;
    this.#vectors = vectors;
    this.#peak = device.load((m) => emitPeak(m, multiply, vectors), ["peak"]).peak;
  }

  /** Undefined for the tier "scalar". */
  static make({ tier, threads }: PeakOptions): PeakMeter | undefined {
    const choice = chooseTier(tier);
    if (choice.tier === undefined) return undefined;
    const device = new Device({ tier: choice.tier, threads, memoryLimitBytes: 2 ** 20 });
    return new PeakMeter(device, choice.tier.multiply, choice.name === "wide" ? 2 * REGISTERS : REGISTERS);
  }

  /** Float32 operations a second in the middle one of `rounds` rounds, each of about 0.3 ms. */
  measure(rounds = 31): number {
    const units = 40_000 * this.#device.threads;
    const times = Array.from({ length: rounds }, () => {
      const start = performance.now();
      this.#device.run(this.#peak, { units, nanosecondsPerUnit: 10 });
      return performance.now() - start;
    }).sort((a, b) => a - b);
    return (units * UNROLL * this.#vectors * LANES * 2) / (times[rounds >> 1]! / 1000);
  }

  stop(): void {
    this.#device.stop();
  }
}
