import { type I32, i32, type Local, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { at, bytesOf, emitGemm, lastBias, rest } from "./gemm.ts";
import { block, type Tile } from "./tile.ts";

type L = Local<"i32">;
/** Columns with those that fill up the last panel. */
const padded = (columns: I32, tile: Tile): I32 =>
  i32.and(i32.add(columns, i32.const(tile.columns - 1)), i32.const(-tile.columns));
const words = (n: number): "i32"[] => Array.from({ length: n }, () => "i32");

/**
 * Matrix products divided for threads: by rows of C over a B that all threads packed before (`gemmPack`), by columns of C, and by
 * matrices of a batch.
 */
export function emitGemmParts(m: ModuleBuilder, tile: Tile, multiply: Multiply): void {
  const { gemm, gemmBlock, packB } = emitGemm(m, tile, multiply);
  // Packed B: block of k, then panel of columns, then step of k, then column.
  m.function("gemmPack", words(9), (f, ...locals) => {
    const [, from, to, columns, k, b, bStep, bColumn, packed] = locals as [L, L, L, L, L, L, L, L, L];
    const [pc, kc, first, count] = f.locals("i32", 4) as [L, L, L, L];
    const panel = i32.const(tile.columns);
    f.set(first, i32.mul(from, panel));
    f.set(count, i32.sub(i32.min(columns, i32.mul(to, panel)), first));
    f.for(pc, i32.const(0), k, block.k, () => {
      f.set(kc, rest(k, pc, block.k));
      const target = i32.add(packed, bytesOf(i32.add(i32.mul(pc, padded(columns, tile)), i32.mul(first, kc))));
      f.call(packB, target, at(at(b, pc, bStep), first, bColumn), bColumn, bStep, count, kc);
    });
  });
  m.function("gemmRows", words(13), (f, ...locals) => {
    const [scratch, from, to, columns, k, a, aRow, aStep, packed, c, cRow, isAdded, bias] = locals as [
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
    ];
    const [ic, pc, kc, mc] = f.locals("i32", 4) as [L, L, L, L];
    // Rows of C stay in the cache while the blocks of k pass.
    f.for(ic, from, to, block.rows, () => {
      f.set(mc, rest(to, ic, block.rows));
      f.for(pc, i32.const(0), k, block.k, () => {
        f.set(kc, rest(k, pc, block.k));
        const aAt = at(at(a, ic, aRow), pc, aStep);
        const bAt = i32.add(packed, bytesOf(i32.mul(pc, padded(columns, tile))));
        const biasAt = lastBias(bias, i32.const(0), i32.add(pc, kc), k);
        const adds = i32.or(isAdded, pc);
        f.call(gemmBlock, scratch, mc, columns, kc, aAt, aRow, aStep, bAt, at(c, ic, cRow), cRow, adds, biasAt);
      });
    });
  });
  m.function("gemmColumns", words(15), (f, ...locals) => {
    const [scratch, from, to, rows, k, a, aRow, aStep, b, bStep, bColumn, c, cRow, isAdded, bias] = locals as [
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      L,
    ];
    const columns = i32.sub(to, from);
    const bytes = bytesOf(from);
    const biasAt = f.let(bias);
    f.if(bias, () => f.advance(biasAt, bytes));
    const bAt = at(b, from, bColumn);
    const cAt = i32.add(c, bytes);
    f.call(gemm, scratch, rows, columns, k, a, aRow, aStep, bAt, bStep, bColumn, cAt, cRow, isAdded, biasAt);
  });
  m.function("gemmBatches", words(18), (f, ...locals) => {
    const [
      scratch,
      from,
      to,
      rows,
      columns,
      k,
      a,
      aRow,
      aStep,
      aBatch,
      b,
      bStep,
      bColumn,
      bBatch,
      c,
      cRow,
      cBatch,
      isAdded,
    ] = locals as [L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L];
    const i = f.local("i32");
    const none = i32.const(0);
    f.for(i, from, to, 1, () => {
      const [aAt, bAt, cAt] = [at(a, i, aBatch), at(b, i, bBatch), at(c, i, cBatch)];
      f.call(gemm, scratch, rows, columns, k, aAt, aRow, aStep, bAt, bStep, bColumn, cAt, cRow, isAdded, none);
    });
  });
}
