import { f32, f32x4, f64, f64x2, i32, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { emitAlongColumns } from "./along.ts";
import { loadRow, storeRow } from "./row.ts";
import { rowAt, rowFunction } from "./rowFunction.ts";

/**
 * Running sums of every row (`cumsumRows`) or column (`cumsumColumns`, `cumsumMatrices`): added in order in float64 and rounded once each,
 * so with the reference's bits. A row is bound by the latency of one addition an element, columns by memory.
 */
export function emitCumsum(m: ModuleBuilder, multiply: Multiply): void {
  rowFunction(m, multiply, "cumsumRows", ["x", "y", "size"], ({ f }, row, { x, y, size }) => {
    const [from, to, k] = [f.let(rowAt(x, row, size)), f.let(rowAt(y, row, size)), f.local("i32")];
    const total = f.let(f64.const(0));
    f.for(k, i32.const(0), size, 1, () => {
      f.set(total, f64.add(total, f64.promote(f32.load(from))));
      f.do(f32.store(to, f32.demote(total)));
      for (const address of [from, to]) f.advance(address, 4);
    });
  });
  emitAlongColumns(m, multiply, "cumsum", (w, { x, y, rows, rowBytes }, part) => {
    const { f } = w;
    const totals = w.map(() => f64x2.const(0)).map((low) => [low, f.let(f64x2.const(0))] as const);
    const row = f.local("i32");
    f.for(row, i32.const(0), rows, 1, () => {
      const values = loadRow(w, x);
      const sums = totals.map(([low, high], i): V128 => {
        const a = values[i]!;
        f.set(low, f64x2.add(low, f64x2.promoteLow(a)));
        f.set(high, f64x2.add(high, f64x2.promoteLow(v128.lanes32(a, a, [2, 3, 2, 3]))));
        return f.let(v128.lanes32(f32x4.demote(low), f32x4.demote(high), [0, 1, 4, 5]));
      });
      storeRow(w, y, sums, part);
      for (const address of [x, y]) f.advance(address, rowBytes);
    });
  });
}
