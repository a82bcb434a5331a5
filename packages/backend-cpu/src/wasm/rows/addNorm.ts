import { f32x4, i32, i32x4, type Local, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { FixedPointAdder } from "./fixedPointAdd.ts";
import { firstTerm, normPlaces, normRow } from "./norm.ts";
import { eachVector, lastTotal, loadRow, mapRow, RowTotal, storeRow, sumRow } from "./row.ts";
import { kernelFunction, rowAt, rowFunction } from "./rowFunction.ts";

// A residual sum and its norm, row by row: the pass that adds also sums what the norm needs first, and the norm finds the row in the
// nearest cache.

type L = Local<"i32">;

/** sum = x + r; y = norm(sum). */
export function emitAddNorm(m: ModuleBuilder, multiply: Multiply, name: string, hasMean: boolean): void {
  const parameters = ["x", "r", "sum", ...normPlaces] as const;
  rowFunction(m, multiply, name, parameters, (v, row, { x, r, sum, ...places }) => {
    const [from, increment, to] = [x, r, sum].map((base) => v.f.let(rowAt(base, row, places.size))) as [L, L, L];
    const total = RowTotal.sum(v);
    eachVector(v, places.size, [to, from, increment], (w, [at, a, b], part) => {
      const values = w.add(loadRow(w, a!), loadRow(w, b!));
      storeRow(w, at!, values, part);
      total.take(w, firstTerm(w, values, hasMean), part);
    });
    normRow(v, row, to, hasMean, places, total.value());
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
      const [stream, increment, result, value] = [x, r, sum, y].map((base) => f.let(rowAt(base, row, size))) as [
        L,
        L,
        L,
        L,
      ];
      const valuesOf = (w: VectorCode, sums: Vectors): Vectors =>
        w.map((i) => f32x4.mul(f32x4.fromI32(sums[i]!), unit));
      f.if(
        adder.isSmall(size, stream, increment),
        () => {
          const total = RowTotal.sum(v);
          adder.runSmall(size, [stream, increment, result, value], (w, sums, at, part) => {
            const values = valuesOf(w, sums);
            storeRow(w, at, values, part);
            total.take(w, firstTerm(w, values, hasMean), part);
          });
          total.value();
        },
        () => {
          adder.run(size, stream, increment, result);
          mapRow(v, size, value, [result], (w, [a]) => valuesOf(w, a!));
          sumRow(v, size, [value], (w, [a]) => firstTerm(w, a!, hasMean));
        },
      );
      normRow(v, row, value, hasMean, given, lastTotal(v));
    });
    adder.writeCounts(counts);
  });
}
