import { type I32, i32, i32x4, type Local, type ModuleBuilder, v128 } from "../assembler/index.ts";

// Products of signed bytes, exact modulo 2^32: bytes become 16-bit words, steps side by side and padded with zeros to whole vectors, of
// which one instruction multiplies eight and adds neighbours (at most 2 · 128²).

type L = Local<"i32">;

/** Steps that a vector of words holds: rows of words are padded to a multiple. */
export const WORDS = 8;
/** Sums of a tile, its rows' words and one column's fit V8's 15 registers. */
const tile = { rows: 2, columns: 4 } as const;
/** Columns whose words stay in the cache while all rows pass. */
const COLUMNS = 64;

/**
 * Lines [from, to) of bytes as rows of words. Parameters: scratch, from, to, source, bytes between lines and between steps, target, steps,
 * bytes of a row of words.
 */
function emitWords(m: ModuleBuilder): void {
  const types = Array.from({ length: 9 }, () => "i32" as const);
  m.function("words", types, (f, _, from, to, source, lineBytes, stepBytes, target, steps, rowBytes) => {
    const [line, at, word, end, left] = f.locals("i32", 5) as [L, L, L, L, L];
    f.for(line, from, to, 1, () => {
      f.set(at, i32.add(source, i32.mul(line, lineBytes)));
      f.set(word, i32.add(target, i32.mul(line, rowBytes)));
      f.set(end, i32.add(word, rowBytes));
      f.set(left, steps);
      f.if(i32.eq(stepBytes, i32.const(1)), () =>
        f.while(i32.geS(left, i32.const(WORDS)), () => {
          f.do(v128.store(word, v128.load8x8S(at)));
          f.advance(at, WORDS);
          f.advance(word, 2 * WORDS);
          f.advance(left, -WORDS);
        }),
      );
      f.while(i32.gtS(left, i32.const(0)), () => {
        f.do(i32.store16(word, i32.load8s(at)));
        f.advance(at, stepBytes);
        f.advance(word, 2);
        f.advance(left, -1);
      });
      f.while(i32.ltU(word, end), () => {
        f.do(i32.store16(word, i32.const(0)));
        f.advance(word, 2);
      });
    });
  });
}

/**
 * Rows [from, to) of C. Parameters: scratch, from, to, columns, bytes of a row of words, words of A's rows, words of B's columns, C,
 * and the bytes between its rows and columns.
 */
function emitTiles(m: ModuleBuilder): void {
  const types = Array.from({ length: 10 }, () => "i32" as const);
  m.function("tiles", types, (f, _, from, to, columns, rowBytes, a, b, c, cRow, cColumn) => {
    const sums = Array.from({ length: tile.rows }, () => f.locals("v128", tile.columns));
    const words = f.locals("v128", tile.rows);
    const other = f.local("v128");
    const [block, end, row, column, left] = f.locals("i32", 5) as [L, L, L, L, L];
    const rowAt = f.locals("i32", tile.rows) as L[];
    const columnAt = f.locals("i32", tile.columns) as L[];
    // Past an edge the last row or column is taken again, and stored again.
    const inside = (i: I32, offset: number, last: L): I32 =>
      i32.min(i32.add(i, i32.const(offset)), i32.sub(last, i32.const(1)));
    f.for(block, i32.const(0), columns, COLUMNS, () => {
      f.set(end, i32.min(columns, i32.add(block, i32.const(COLUMNS))));
      f.for(row, from, to, tile.rows, () => {
        f.for(column, block, end, tile.columns, () => {
          rowAt.forEach((at, i) => {
            f.set(at, i32.add(a, i32.mul(inside(row, i, to), rowBytes)));
          });
          columnAt.forEach((at, j) => {
            f.set(at, i32.add(b, i32.mul(inside(column, j, end), rowBytes)));
          });
          for (const sum of sums.flat()) f.set(sum, i32x4.const(0));
          f.set(left, rowBytes);
          f.while(i32.gtS(left, i32.const(0)), () => {
            words.forEach((w, i) => {
              f.set(w, v128.load(rowAt[i]!));
            });
            columnAt.forEach((at, j) => {
              f.set(other, v128.load(at));
              sums.forEach((own, i) => {
                f.set(own[j]!, i32x4.add(own[j]!, i32x4.dot(words[i]!, other)));
              });
            });
            for (const at of [...rowAt, ...columnAt]) f.advance(at, 2 * WORDS);
            f.advance(left, -2 * WORDS);
          });
          sums.forEach((own, i) => {
            own.forEach((sum, j) => {
              f.set(sum, i32x4.add(sum, v128.lanes32(sum, sum, [2, 3, 0, 1])));
              const at = i32.add(i32.mul(inside(row, i, to), cRow), i32.mul(inside(column, j, end), cColumn));
              f.do(i32.store(i32.add(c, at), i32.add(i32x4.lane(sum, 0), i32x4.lane(sum, 1))));
            });
          });
        });
      });
    });
  });
}

export function emitInt8(m: ModuleBuilder): void {
  emitWords(m);
  emitTiles(m);
}
