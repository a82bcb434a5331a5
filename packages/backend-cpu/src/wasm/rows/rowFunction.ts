import { type I32, i32, i32x4, type Local, type ModuleBuilder, type V128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode } from "../vector/vectors.ts";

type L = Local<"i32">;

/**
 * A kernel whose units are rows: `write` is the code of one row. Parameters: scratch, from, to, then those named,
 * all i32; addresses are of row 0.
 */
export function rowFunction<const P extends readonly string[]>(
  m: ModuleBuilder,
  multiply: Multiply,
  name: string,
  parameters: P,
  write: (v: VectorCode, row: L, given: { readonly [K in P[number]]: L }) => void,
): void {
  const types = Array.from({ length: 3 + parameters.length }, () => "i32" as const);
  m.function(name, types, (f, ...locals) => {
    const [scratch, from, to, ...rest] = locals as unknown as [L, L, L, ...L[]];
    const given = Object.fromEntries(parameters.map((p, i) => [p, rest[i]!])) as { readonly [K in P[number]]: L };
    const v = new VectorCode(f, 4, multiply, scratch);
    const row = f.local("i32");
    f.for(row, from, to, 1, () => write(v, row, given));
  });
}

/** The address of a row of `size` floats. */
export const rowAt = (base: I32, row: I32, size: I32): I32 => i32.add(base, i32.shl(i32.mul(row, size), i32.const(2)));
export const wordAt = (base: I32, index: I32): I32 => i32.add(base, i32.shl(index, i32.const(2)));

/** A float given by its bits, in every lane. */
export const splatBits = (v: VectorCode, bits: I32): V128 => v.f.let(i32x4.splat(bits));
/** The float at an address, in every lane. */
export const splatAt = (v: VectorCode, address: I32): V128 => v.f.let(i32x4.splat(i32.load(address)));
