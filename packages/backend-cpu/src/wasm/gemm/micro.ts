import {
  type FunctionBuilder,
  f32x4,
  i32,
  type Local,
  type ModuleBuilder,
  type V128,
  v128,
} from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import type { Tile } from "./tile.ts";

/** What of A lies side by side: the elements of a row, or those of a column, as in a transposed or a packed matrix. */
export type Layout = "rows" | "columns";

/**
 * tile of C (+)= A · packed B, one fused (or rounded) multiply-add a step of k, in ascending k. Registers: all sums, one row of B,
 * one splat of A. V8 before 12.5 moves loads up, across the whole loop body: there `unroll` must be 1.
 * Parameters: a, bytes from one row (column) of A to the next, rows of A there are, packed B, k, c, cRow, isAdded, bias. Of rows that
 * are not, the last one stands in; of columns, what lies behind is read: less than a line.
 */
export function microkernel(m: ModuleBuilder, tile: Tile, multiply: Multiply, layout: Layout): FunctionBuilder {
  const { rows, columns, unroll } = tile;
  const vectors = columns / 4;
  return m.function(
    `micro_${layout}`,
    ["i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32"],
    (f, a, aStride, aRows, b, k, c, cStep, isAdded, bias) => {
      const sums = Array.from({ length: rows }, () => f.locals("v128", vectors));
      const bRow = f.locals("v128", vectors);
      const splat = f.local("v128");
      const lines = layout === "columns" ? [] : f.locals("i32", rows);
      for (const [i, line] of lines.entries()) {
        const step = i32.and(aStride, i32.sub(i32.const(0), i32.ltS(i32.const(i), aRows)));
        f.set(line, i === 0 ? a : i32.add(lines[i - 1]!, step));
      }
      const element = (u: number, i: number): V128 =>
        layout === "columns" ? v128.load32Splat(a, 4 * i) : v128.load32Splat(lines[i]!, 4 * u);
      const step = (u: number): void => {
        for (let j = 0; j < vectors; j++) f.set(bRow[j]!, v128.load(b, (u * columns + 4 * j) * 4));
        for (let i = 0; i < rows; i++) {
          f.set(splat, element(u, i));
          for (let j = 0; j < vectors; j++) f.set(sums[i]![j]!, multiply.add(splat, bRow[j]!, sums[i]![j]!));
        }
        if (layout === "columns") f.advance(a, aStride);
      };
      const steps = (count: number): void => {
        f.while(i32.geS(k, i32.const(count)), () => {
          for (let u = 0; u < count; u++) step(u);
          for (const line of lines) f.advance(line, 4 * count);
          f.advance(b, count * columns * 4);
          f.advance(k, -count);
        });
      };
      if (unroll > 1) steps(unroll);
      steps(1);
      const eachSum = (change: (sum: Local<"v128">, i: number, j: number) => void): void => {
        for (let i = 0; i < rows; i++) for (let j = 0; j < vectors; j++) change(sums[i]![j]!, i, j);
      };
      f.if(isAdded, () => {
        const row = f.let(c);
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < vectors; j++) f.set(sums[i]![j]!, f32x4.add(v128.load(row, 16 * j), sums[i]![j]!));
          if (i < rows - 1) f.advance(row, cStep);
        }
      });
      f.if(bias, () => {
        for (let j = 0; j < vectors; j++) f.set(bRow[j]!, v128.load(bias, 16 * j));
        eachSum((sum, _, j) => f.set(sum, f32x4.add(sum, bRow[j]!)));
      });
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < vectors; j++) f.do(v128.store(c, sums[i]![j]!, 16 * j));
        if (i < rows - 1) f.advance(c, cStep);
      }
    },
  );
}
