import { f32x4, type I32, i32, type Local } from "../assembler/index.ts";
import type { VectorCode, Vectors } from "../vector/vectors.ts";
import { eachVector, type Part, storeRow } from "./row.ts";

type L = Local<"i32">;

/** Rows added up before their sum joins the total: errors then grow with the number of blocks, not of rows. */
const ROWS_AT_ONCE = 64;

/**
 * Sums over the rows of matrices, for columns [from, to): `terms` gives the vectors to add for one row, as many as
 * there are targets. Rows are added in ascending order in blocks, whatever the columns' division.
 */
export function sumColumns(
  v: VectorCode,
  columns: { readonly from: I32; readonly to: I32 },
  rows: L,
  targets: readonly L[],
  terms: (w: VectorCode, row: L, columnBytes: L, part?: Part) => readonly Vectors[],
): void {
  const { f } = v;
  const columnBytes = f.let(i32.shl(columns.from, i32.const(2)));
  const starts = targets.map((t) => i32.add(t, columnBytes));
  const at = f.local("i32");
  f.set(at, columnBytes);
  eachVector(v, i32.sub(columns.to, columns.from), starts, (w, addresses, part) => {
    const totals = targets.map(() => w.map(() => f32x4.const(0)));
    const sums = targets.map(() => w.map(() => f32x4.const(0)));
    const [block, row, end] = f.locals("i32", 3) as [L, L, L];
    f.for(block, i32.const(0), rows, ROWS_AT_ONCE, () => {
      f.set(end, i32.min(rows, i32.add(block, i32.const(ROWS_AT_ONCE))));
      for (const sum of sums) for (const s of sum) f.set(s, f32x4.const(0));
      f.for(row, block, end, 1, () => {
        terms(w, row, at, part).forEach((term, k) => {
          term.forEach((x, i) => {
            f.set(sums[k]![i]!, f32x4.add(sums[k]![i]!, x));
          });
        });
      });
      totals.forEach((total, k) => {
        total.forEach((x, i) => {
          f.set(x, f32x4.add(x, sums[k]![i]!));
        });
      });
    });
    targets.forEach((_, k) => {
      storeRow(w, addresses[k]!, totals[k]!, part);
    });
    f.advance(at, 16 * w.width);
  });
}
