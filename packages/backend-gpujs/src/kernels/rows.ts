import type { View } from "../slot.ts";
import type { Source } from "../text/source.ts";
import type { Context, Operand } from "./context.ts";
import { type Fold, foldRows, sumFold } from "./reduce.ts";

// What ops over the last axis have in common: contiguous inputs, one result a row, or one a column.

/** A float of a row-major operand. */
export type At = (s: Source, k: number, position: string) => string;

/** Where element k of row r lies, and both. */
export interface Place {
  readonly at: string;
  readonly row: string;
  readonly column: string;
}

/** Contiguous floats by their position, wherever their view begins. */
export const reader =
  (views: readonly { readonly offset: number }[]): At =>
  (s, k, position) => {
    const offset = views[k]?.offset ?? 0;
    return s.loadFloat(k, offset === 0 ? position : s.let(`${position} + ${offset}`));
  };

/** Names the offsets that a reader builds in. */
export const offsetsKey = (views: readonly View[]): string => views.map((v) => v.offset).join();

interface Sums {
  readonly name: string;
  readonly rows: number;
  readonly size: number;
  readonly inputs: readonly Operand[];
  readonly fold?: Fold;
  readonly value: (s: Source, place: Place) => string;
}

/** One value a row: its terms folded along the row. */
export function overRows(c: Context, { name, rows, size, inputs, fold = sumFold("f32"), value }: Sums): Operand {
  return foldRows(
    c,
    {
      key: name,
      numbers: [],
      outer: rows,
      size,
      inputs,
      row: (s, row) => {
        const start = s.let(`${row} * ${size}`);
        return (column) => ({ kind: "float", text: value(s, { at: s.let(`${start} + ${column}`), row, column }) });
      },
    },
    fold,
    "f32",
  );
}

/** One value a column: its terms folded over the rows, in their order. */
export function overColumns(c: Context, { name, rows, size, inputs, value }: Sums): Operand {
  return foldRows(
    c,
    {
      key: `columns ${name}`,
      numbers: [],
      outer: size,
      size: rows,
      inputs,
      row: (s, column) => (row) => ({
        kind: "float",
        text: value(s, { at: s.let(`${row} * ${size} + ${column}`), row, column }),
      }),
    },
    sumFold("f32"),
    "f32",
  );
}

/** e^x by the device's function where it is good, else by ours. */
export const exp = (s: Source, x: string): string => (s.hasGoodFunctions ? `Math.exp(${x})` : `ownExp(${x})`);
export const log = (s: Source, x: string): string => (s.hasGoodFunctions ? `Math.log(${x})` : `ownLog(${x})`);
