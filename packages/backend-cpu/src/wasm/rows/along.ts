import { i32, type Local, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode } from "../vector/vectors.ts";
import { eachVector, type Part } from "./row.ts";
import { rowAt, rowFunction, wordAt } from "./rowFunction.ts";

type L = Local<"i32">;

/** How one column goes over its rows: `x` is the address of its first element and steps by `rowBytes`, as `y` does where it has rows. */
export type ColumnCode = (
  w: VectorCode,
  at: { readonly x: L; readonly y: L; readonly rows: L; readonly rowBytes: L },
  part?: Part,
) => void;

/**
 * Two kernels over the columns of matrices of 32-bit words: `<name>Columns`, whose units are the columns of one, and `<name>Matrices`, whose
 * units are matrices. Parameters: scratch, from, to, x, y, rows, columns, and for matrices the rows of a result.
 */
export function emitAlongColumns(m: ModuleBuilder, multiply: Multiply, name: string, write: ColumnCode): void {
  const types = Array.from({ length: 7 }, () => "i32" as const);
  const columns = m.function(`${name}Columns`, types, (f, scratch, from, to, x, y, rows, inner) => {
    const rowBytes = f.let(i32.shl(inner, i32.const(2)));
    const starts = [wordAt(x, from), wordAt(y, from)];
    eachVector(new VectorCode(f, 4, multiply, scratch), i32.sub(to, from), starts, (w, [source, target], part) =>
      write(w, { x: f.let(source!), y: f.let(target!), rows, rowBytes }, part),
    );
  });
  const parameters = ["x", "y", "rows", "inner", "rowsOut"] as const;
  rowFunction(m, multiply, `${name}Matrices`, parameters, ({ f, spill }, matrix, { x, y, rows, inner, rowsOut }) => {
    const [from, to] = [rowAt(x, matrix, i32.mul(rows, inner)), rowAt(y, matrix, i32.mul(rowsOut, inner))];
    f.call(columns, spill!, i32.const(0), inner, from, to, rows, inner);
  });
}
