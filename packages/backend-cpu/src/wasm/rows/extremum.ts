import { f32, f32x4, i32, i32x4, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { storeSome, storeVectors } from "../vector/memory.ts";
import type { VectorCode, Vectors } from "../vector/vectors.ts";
import { emitAlongColumns } from "./along.ts";
import { eachVector, loadRow, type Reduction, RowTotal, storeRow } from "./row.ts";
import { rowAt, rowFunction, wordAt } from "./rowFunction.ts";

export type Extremum = "max" | "min";

/** An extremum of floats: NaN if any is NaN, and -0 below 0, as JavaScript's. */
const extrema: Readonly<Record<Extremum, Reduction & { readonly beats: Reduction["combine"] }>> = {
  max: { identity: Number.NEGATIVE_INFINITY, combine: f32x4.max, beats: f32x4.gt },
  min: { identity: Number.POSITIVE_INFINITY, combine: f32x4.min, beats: f32x4.lt },
};

/** One NaN for all: which one comes out of an instruction is not laid down. */
const oneNaN = (w: VectorCode, values: Vectors): Vectors =>
  w.select(w.binary(f32x4.eq, values, values), values, w.float(Number.NaN));

function extremumRow(v: VectorCode, name: Extremum, from: ReturnType<typeof rowAt>, size: ReturnType<typeof rowAt>) {
  const total = new RowTotal(v, extrema[name]);
  eachVector(v, size, [from], (w, [at], part) => total.take(w, loadRow(w, at!), part));
  return total.value();
}

/** y = the extremum of every row (`maxRows`) or column (`maxColumns`, `maxMatrices`). */
export function emitExtremum(m: ModuleBuilder, multiply: Multiply, name: Extremum): void {
  const { identity, combine } = extrema[name];
  rowFunction(m, multiply, `${name}Rows`, ["x", "y", "size"], (v, row, { x, y, size }) => {
    const [total] = oneNaN(v.ofWidth(1), [extremumRow(v, name, rowAt(x, row, size), size)]);
    v.f.do(f32.store(wordAt(y, row), f32x4.lane(total!, 0)));
  });
  emitAlongColumns(m, multiply, name, (w, { x, y, rows, rowBytes }, part) => {
    const { f } = w;
    const totals = w.map(() => f32x4.const(identity));
    const row = f.local("i32");
    f.for(row, i32.const(0), rows, 1, () => {
      const values = loadRow(w, x);
      for (const [i, t] of totals.entries()) f.set(t, combine(t, values[i]!));
      f.advance(x, rowBytes);
    });
    storeRow(w, y, oneNaN(w, totals), part);
  });
}

/** y = where the extremum is: the first of equals, or the first NaN. */
export function emitPosition(m: ModuleBuilder, multiply: Multiply, name: Extremum): void {
  // Rows: the extremum first, then the first element that is it. There is one, so the search ends inside the row.
  rowFunction(m, multiply, `arg${name}Rows`, ["x", "y", "size"], (v, row, { x, y, size }) => {
    const { f } = v;
    const from = f.let(rowAt(x, row, size));
    const top = extremumRow(v, name, from, size);
    const at = f.let(from);
    const found = (): V128 => v128.or(f32x4.eq(v128.load(at), top), f32x4.ne(v128.load(at), v128.load(at)));
    f.while(i32.eqz(v128.anyTrue(found())), () => f.advance(at, 16));
    const lane = i32.ctz(i32x4.bitmask(found()));
    f.do(i32.store(wordAt(y, row), i32.add(i32.shrU(i32.sub(at, from), i32.const(2)), lane)));
  });
  emitAlongColumns(m, multiply, `arg${name}`, (w, { x, y, rows, rowBytes }, part) => {
    const { f } = w;
    const best = loadRow(w, x).map((b) => f.let(b));
    const places = w.map(() => i32x4.const(0));
    const row = f.local("i32");
    f.for(row, i32.const(1), rows, 1, () => {
      f.advance(x, rowBytes);
      const values = loadRow(w, x);
      best.forEach((b, i) => {
        const a = values[i]!;
        const isFirstNaN = v128.and(f32x4.ne(a, a), f32x4.eq(b, b));
        const wins = f.let(v128.or(extrema[name].beats(a, b), isFirstNaN));
        f.set(b, v128.bitSelect(a, b, wins));
        f.set(places[i]!, v128.bitSelect(i32x4.splat(row), places[i]!, wins));
      });
    });
    if (part === undefined) storeVectors(w, "i32", y, places);
    else storeSome(w, "i32", y, places, part.count);
  });
}
