import { f32, f32x4, i32, i32x4, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode } from "../vector/vectors.ts";
import { sumColumns } from "./columns.ts";
import { eachVector, loadRow, RowTotal, sumRow } from "./row.ts";
import { rowAt, rowFunction, wordAt } from "./rowFunction.ts";

/** The sum of every row. */
export function emitSumRows(m: ModuleBuilder, multiply: Multiply): void {
  rowFunction(m, multiply, "sumRows", ["x", "y", "size"], (v, row, { x, y, size }) => {
    const total = sumRow(v, size, [rowAt(x, row, size)], (_, [a]) => a!);
    v.f.do(f32.store(wordAt(y, row), f32x4.lane(total, 0)));
  });
}

/** The sum of every row of whole numbers, modulo 2^32. */
export function emitSumIntegerRows(m: ModuleBuilder, multiply: Multiply): void {
  rowFunction(m, multiply, "sumIntegerRows", ["x", "y", "size"], (v, row, { x, y, size }) => {
    // Zero is the same word in either type.
    const total = new RowTotal(v, { identity: 0, combine: i32x4.add });
    eachVector(v, size, [rowAt(x, row, size)], (w, [at], part) => total.take(w, loadRow(w, at!), part));
    v.f.do(i32.store(wordAt(y, row), i32x4.lane(total.value(), 0)));
  });
}

/** The same of many matrices [rows, size], one after another; units are matrices. */
export function emitSumMatrices(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 7 }, () => "i32" as const);
  m.function("sumMatrices", types, (f, _scratch, from, to, x, y, rows, size) => {
    const v = new VectorCode(f, 4, multiply);
    const matrix = f.local("i32");
    f.for(matrix, from, to, 1, () => {
      const [own, sum] = [f.let(rowAt(x, i32.mul(matrix, rows), size)), f.let(rowAt(y, matrix, size))];
      sumColumns(v, { from: i32.const(0), to: size }, rows, [sum], (w, row, columnBytes) => [
        loadRow(w, f.let(i32.add(rowAt(own, row, size), columnBytes))),
      ]);
    });
  });
}

/** The sum over rows of every column; units are columns. */
export function emitSumColumns(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 7 }, () => "i32" as const);
  m.function("sumColumns", types, (f, _scratch, from, to, x, y, rows, size) => {
    sumColumns(new VectorCode(f, 4, multiply), { from, to }, rows, [y], (w, row, columnBytes) => [
      loadRow(w, f.let(i32.add(rowAt(x, row, size), columnBytes))),
    ]);
  });
}
