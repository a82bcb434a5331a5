import { i32, type ModuleBuilder, v128 } from "./assembler/index.ts";
import type { Multiply } from "./multiply.ts";

/** Independent sums, one a register: enough to hide the latency of two units, few enough for 16. Twice as many fit in joined pairs. */
export const REGISTER_SUMS = 12;
const UNROLL = 4;
const LANES = 4;

/** Floating-point operations of one round of so many sums. */
export const operationsOf = (sums: number): number => UNROLL * sums * LANES * 2;

/** Multiply-adds on registers alone: what no kernel can be faster than. Parameters: scratch, from, to; units are rounds. */
export function emitRegisterSums(m: ModuleBuilder, multiply: Multiply, name: string, count: number): void {
  m.function(name, ["i32", "i32", "i32"], (f, scratch, from, to) => {
    const round = f.local("i32");
    const factors = f.locals("v128", 2);
    const sums = f.locals("v128", count);
    for (const [i, x] of [...factors, ...sums].entries()) f.set(x, v128.load(scratch, 16 * i));
    f.for(round, from, to, 1, () => {
      for (let u = 0; u < UNROLL; u++)
        for (const [i, s] of sums.entries()) f.set(s, multiply.add(factors[i % 2]!, factors[i % 2]!, s));
    });
    for (const [i, s] of sums.entries()) f.do(v128.store(scratch, s, 16 * i));
    f.do(i32.store(scratch, i32.const(0)));
  });
}
