import { f32x4, i32, type Local, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode } from "../vector/vectors.ts";
import { eachVector, loadRow, mapRow, storeRow } from "./row.ts";
import { rowAt, wordAt } from "./rowFunction.ts";

type L = Local<"i32">;

/**
 * y[places[p]] += updates[p] on rows of `inner` floats, from zero, in ascending p; units are columns, so that every sum
 * is one thread's. Parameters: scratch, from, to, places, updates, y, number of places, rows of y, inner.
 */
export function emitScatterAdd(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 9 }, () => "i32" as const);
  m.function("scatterAdd", types, (f, _scratch, from, to, places, updates, y, count, rows, inner) => {
    const v = new VectorCode(f, 4, multiply);
    const size = f.let(i32.sub(to, from));
    const [row, place] = f.locals("i32", 2) as [L, L];
    f.for(row, i32.const(0), rows, 1, () => mapRow(v, size, wordAt(rowAt(y, row, inner), from), [], (w) => w.float(0)));
    f.for(place, i32.const(0), count, 1, () => {
      const target = i32.load(wordAt(places, place));
      const starts = [wordAt(rowAt(y, target, inner), from), wordAt(rowAt(updates, place, inner), from)];
      eachVector(v, size, starts, (w, [sum, update], part) =>
        storeRow(w, sum!, w.binary(f32x4.add, loadRow(w, sum!), loadRow(w, update!)), part),
      );
    });
  });
}
