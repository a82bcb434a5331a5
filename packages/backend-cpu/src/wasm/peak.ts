import { i32, type ModuleBuilder, v128 } from "./assembler/index.ts";
import { Device } from "./device/device.ts";
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

/**
 * Float32 operations a second that this machine's multiply-add units do in a tier's instructions, measured in about 50 ms.
 * Undefined for the tier "scalar".
 */
export function measurePeakFlops({ tier, threads }: PeakOptions): number | undefined {
  const choice = chooseTier(tier);
  if (choice.tier === undefined) return undefined;
  const vectors = choice.name === "wide" ? 2 * REGISTERS : REGISTERS;
  const device = new Device({ tier: choice.tier, threads, memoryLimitBytes: 2 ** 20 });
  const { peak } = device.load((m) => emitPeak(m, choice.tier!.multiply, vectors), ["peak"]);
  const units = 40_000 * device.threads;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 30; i++) {
    const start = performance.now();
    device.run(peak, { units, nanosecondsPerUnit: 10 });
    best = Math.min(best, performance.now() - start);
  }
  device.stop();
  return (units * UNROLL * vectors * LANES * 2) / (best / 1000);
}
