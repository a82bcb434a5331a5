import { f32x4, i32, i32x4, type Local, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode } from "../vector/vectors.ts";
import { FixedPointAdder } from "./fixedPointAdd.ts";
import { normPlaces, normRow } from "./norm.ts";
import { mapRow } from "./row.ts";
import { kernelFunction, rowAt, rowFunction } from "./rowFunction.ts";

// A residual sum and its norm, row by row: the norm finds the row it reads in the nearest cache.

type L = Local<"i32">;

/** sum = x + r; y = norm(sum). */
export function emitAddNorm(m: ModuleBuilder, multiply: Multiply, name: string, hasMean: boolean): void {
  const parameters = ["x", "r", "sum", ...normPlaces] as const;
  rowFunction(m, multiply, name, parameters, (v, row, { x, r, sum, ...places }) => {
    const [from, increment, to] = [x, r, sum].map((base) => v.f.let(rowAt(base, row, places.size))) as [L, L, L];
    mapRow(v, places.size, to, [from, increment], (w, [a, b]) => w.add(a!, b!));
    normRow(v, row, to, hasMean, places);
  });
}

/** sum = x ± quantise(r) modulo 2^32; y = norm(sum · 2^-bits). */
export function emitFixedPointAddNorm(m: ModuleBuilder, multiply: Multiply, name: string, hasMean: boolean): void {
  const parameters = ["x", "r", "sum", ...normPlaces, "counts", "fractionBits", "sign"] as const;
  kernelFunction(m, name, parameters, (f, given) => {
    const { scratch, from, to, x, r, sum, y, size, counts, fractionBits, sign } = given;
    const v = new VectorCode(f, 4, multiply, scratch);
    const adder = new FixedPointAdder(v, fractionBits, sign);
    const unit = f.let(i32x4.splat(i32.shl(i32.sub(i32.const(127), fractionBits), i32.const(23)))); // 2^-bits
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const [stream, value] = [f.let(rowAt(sum, row, size)), f.let(rowAt(y, row, size))];
      adder.run(size, rowAt(x, row, size), rowAt(r, row, size), stream);
      mapRow(v, size, value, [stream], (w, [a]) => w.map((i) => f32x4.mul(f32x4.fromI32(a![i]!), unit)));
      normRow(v, row, value, hasMean, given);
    });
    adder.writeCounts(counts);
  });
}
