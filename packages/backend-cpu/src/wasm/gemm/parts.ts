import { i32, type Local, type ModuleBuilder } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { emitGemm } from "./gemm.ts";
import type { Tile } from "./tile.ts";

type L = Local<"i32">;
const words = (n: number): "i32"[] => Array.from({ length: n }, () => "i32");

/** Matrix products divided for threads by rows of C, by columns of C, and by matrices of a batch. */
export function emitGemmParts(m: ModuleBuilder, tile: Tile, multiply: Multiply): void {
  const gemm = emitGemm(m, tile, multiply);
  const at = (base: L, i: L, step: L) => i32.add(base, i32.mul(i, step));
  m.function("gemmRows", words(15), (f, ...locals) => {
    const [scratch, from, to, columns, k, a, aRow, aStep, b, bStep, bColumn, c, cRow, isAdded, bias] = locals as [
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
    const rows = i32.sub(to, from);
    const [aAt, cAt] = [at(a, from, aRow), at(c, from, cRow)];
    f.call(gemm, scratch, rows, columns, k, aAt, aRow, aStep, b, bStep, bColumn, cAt, cRow, isAdded, bias);
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
    const bytes = i32.shl(from, i32.const(2));
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
