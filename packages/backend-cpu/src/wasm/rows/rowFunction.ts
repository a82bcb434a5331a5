import {
  type FunctionBuilder,
  type I32,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  type V128,
} from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode } from "../vector/vectors.ts";

type L = Local<"i32">;

type Named<P extends readonly string[]> = { readonly [K in P[number]]: L };

/** A kernel with its parameters by name. Parameters: scratch, from, to, then those named, all i32. */
export function kernelFunction<const P extends readonly string[]>(
  m: ModuleBuilder,
  name: string,
  parameters: P,
  write: (f: FunctionBuilder, given: Named<P> & Named<readonly ["scratch", "from", "to"]>) => void,
): void {
  const names = ["scratch", "from", "to", ...parameters];
  const types = names.map(() => "i32" as const);
  m.function(name, types, (f, ...locals) => {
    write(f, Object.fromEntries(names.map((n, i) => [n, locals[i]!])) as Parameters<typeof write>[1]);
  });
}

/** A kernel whose units are rows: `write` is the code of one row. Addresses are of row 0. */
export function rowFunction<const P extends readonly string[]>(
  m: ModuleBuilder,
  multiply: Multiply,
  name: string,
  parameters: P,
  write: (v: VectorCode, row: L, given: Named<P>) => void,
): void {
  kernelFunction(m, name, parameters, (f, given) => {
    const v = new VectorCode(f, 4, multiply, given.scratch);
    const row = f.local("i32");
    f.for(row, given.from, given.to, 1, () => write(v, row, given));
  });
}

/** The address of a row of `size` floats. */
export const rowAt = (base: I32, row: I32, size: I32): I32 => i32.add(base, i32.shl(i32.mul(row, size), i32.const(2)));
export const wordAt = (base: I32, index: I32): I32 => i32.add(base, i32.shl(index, i32.const(2)));

/** A float given by its bits, in every lane. */
export const splatBits = (v: VectorCode, bits: I32): V128 => v.f.let(i32x4.splat(bits));
/** The float at an address, in every lane. */
export const splatAt = (v: VectorCode, address: I32): V128 => v.f.let(i32x4.splat(i32.load(address)));
