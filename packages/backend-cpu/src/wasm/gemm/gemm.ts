import {
  type FunctionBuilder,
  f32,
  f32x4,
  type I32,
  i32,
  type Local,
  type ModuleBuilder,
  select,
  v128,
} from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { microkernel } from "./micro.ts";
import { packer } from "./pack.ts";
import { block, edgeBytes, type Tile } from "./tile.ts";

export interface GemmFunctions {
  /** (scratch, rows, columns, k, a, aRow, aStep, b, bStep, bColumn, c, cRow, isAdded, bias) */
  readonly gemm: FunctionBuilder;
  /** The same with one block of B packed already: (scratch, rows, columns, k, a, aRow, aStep, packedB, c, cRow, isAdded, bias) */
  readonly gemmBlock: FunctionBuilder;
  /** (target, source, columnBytes, stepBytes, columns, k) */
  readonly packB: FunctionBuilder;
}

/**
 * C (+)= A · B on [rows, k] by [k, columns] matrices with any strides (in bytes), C's columns side by side: blocks packed for the
 * caches, then tiles. Every sum runs over ascending k in blocks of `block.k`, whatever the tile and whichever part of C is
 * asked for. Source: Goto and van de Geijn 2008 (doi:10.1145/1356052.1356053).
 */
export function emitGemm(m: ModuleBuilder, tile: Tile, multiply: Multiply): GemmFunctions {
  const packA = packer(m, tile.rows);
  const packB = tile.rows === tile.columns ? packA : packer(m, tile.columns);
  const gemmBlock = emitBlock(m, tile, multiply, packA);
  const bOffset = edgeBytes + 4 * block.k * (block.rows + tile.rows);
  const parameters = Array.from({ length: 14 }, () => "i32" as const);
  const gemm = m.function("gemm", parameters, (f, ...locals) => {
    const [scratch, rows, columns, k, a, aRow, aStep, b, bStep, bColumn, c, cRow, isAdded, bias] = locals as Fixed14;
    const packedB = f.let(i32.add(scratch, i32.const(bOffset)));
    const [jc, pc, nc, kc] = f.locals("i32", 4) as [L, L, L, L];
    f.for(jc, i32.const(0), columns, block.columns, () => {
      f.set(nc, rest(columns, jc, block.columns));
      f.for(pc, i32.const(0), k, block.k, () => {
        f.set(kc, rest(k, pc, block.k));
        f.call(packB, packedB, at(at(b, pc, bStep), jc, bColumn), bColumn, bStep, nc, kc);
        const cAt = i32.add(c, bytesOf(jc));
        const adds = i32.or(isAdded, pc);
        const biasAt = lastBias(bias, bytesOf(jc), i32.add(pc, kc), k);
        f.call(gemmBlock, scratch, rows, nc, kc, at(a, pc, aStep), aRow, aStep, packedB, cAt, cRow, adds, biasAt);
      });
    });
  });
  return { gemm, gemmBlock, packB };
}

/** The address i steps on. */
export const at = (base: I32, i: I32, step: I32): I32 => i32.add(base, i32.mul(i, step));
export const bytesOf = (floats: I32): I32 => i32.shl(floats, i32.const(2));
/** What is left from i to the end, `most` at most. */
export const rest = (end: I32, i: I32, most: number): I32 => i32.min(i32.sub(end, i), i32.const(most));
/** The bias joins when the sum is complete; none is address 0. */
export const lastBias = (bias: I32, offset: I32, done: I32, k: I32): I32 =>
  select(i32.add(bias, offset), i32.const(0), i32.and(i32.geS(done, k), i32.ne(bias, i32.const(0))));

/** Bytes between columns of A below which it is read where it lies: farther apart, each step of k is on a page of its own. */
const FARTHEST_COLUMN = 1024;

/** A times one packed block of B, tile after tile: A as it lies where its rows or columns are runs of floats, else packed in blocks. */
function emitBlock(m: ModuleBuilder, tile: Tile, multiply: Multiply, packA: FunctionBuilder): FunctionBuilder {
  const [byRows, byColumns] = [microkernel(m, tile, multiply, "rows"), microkernel(m, tile, multiply, "columns")];
  const parameters = Array.from({ length: 12 }, () => "i32" as const);
  return m.function("gemmBlock", parameters, (f, ...locals) => {
    const [scratch, rows, columns, k, a, aRow, aStep, packedB, c, cRow, isAdded, bias] = locals as Fixed12;
    const packedA = f.let(i32.add(scratch, i32.const(edgeBytes)));
    const [ic, jr, ir, mc, aStart, tileBytes, aAt, bAt, cAt, biasAt] = f.locals("i32", 10) as Fixed10;
    const [rowsLeft, columnsLeft] = f.locals("i32", 2) as [L, L];
    const isRows = f.let(i32.eq(aStep, i32.const(4)));
    const isColumns = i32.and(i32.eq(aRow, i32.const(4)), i32.ltU(aStep, i32.const(FARTHEST_COLUMN)));
    const isPacked = f.let(i32.eqz(i32.or(isRows, isColumns)));
    const stride = f.let(select(aRow, select(i32.const(4 * tile.rows), aStep, isPacked), isRows));
    f.set(tileBytes, i32.mul(select(bytesOf(k), aRow, isPacked), i32.const(tile.rows)));
    f.for(ic, i32.const(0), rows, block.rows, () => {
      f.set(mc, rest(rows, ic, block.rows));
      f.set(aStart, at(a, ic, aRow));
      f.if(isPacked, () => {
        f.call(packA, packedA, aStart, aRow, aStep, mc, k);
        f.set(aStart, packedA);
      });
      f.set(bAt, packedB);
      f.set(biasAt, bias);
      f.for(jr, i32.const(0), columns, tile.columns, () => {
        f.set(aAt, aStart);
        f.set(cAt, i32.add(at(c, ic, cRow), bytesOf(jr)));
        f.set(columnsLeft, i32.sub(columns, jr));
        f.for(ir, i32.const(0), mc, tile.rows, () => {
          f.set(rowsLeft, i32.sub(mc, ir));
          const multiplyTile = (to: L, toRow: I32, adds: I32, bias: I32): void => {
            const rest = [aAt, stride, rowsLeft, bAt, k, to, toRow, adds, bias] as const;
            f.if(
              isRows,
              () => f.call(byRows, ...rest),
              () => f.call(byColumns, ...rest),
            );
          };
          const isWhole = i32.and(
            i32.geS(rowsLeft, i32.const(tile.rows)),
            i32.geS(columnsLeft, i32.const(tile.columns)),
          );
          f.if(
            isWhole,
            () => multiplyTile(cAt, cRow, isAdded, biasAt),
            () => {
              multiplyTile(scratch, i32.const(4 * tile.columns), i32.const(0), i32.const(0));
              copyEdge(f, tile, { scratch, c: cAt, cRow, rowsLeft, columnsLeft, adds: isAdded, biasAt });
            },
          );
          f.set(aAt, i32.add(aAt, tileBytes));
          f.advance(cAt, i32.mul(cRow, i32.const(tile.rows)));
        });
        f.advance(bAt, i32.mul(k, i32.const(4 * tile.columns)));
        f.if(bias, () => f.advance(biasAt, 4 * tile.columns));
      });
    });
  });
}

type L = Local<"i32">;
type Fixed10 = [L, L, L, L, L, L, L, L, L, L];
type Fixed12 = [...Fixed10, L, L];
type Fixed14 = [...Fixed12, L, L];

interface Edge {
  readonly scratch: L;
  readonly c: L;
  readonly cRow: L;
  readonly rowsLeft: L;
  readonly columnsLeft: L;
  readonly adds: L;
  readonly biasAt: L;
}

/** The part of a finished tile that lies inside C, in the micro-kernel's own order: what was there, the sum, the bias. */
function copyEdge(f: FunctionBuilder, tile: Tile, edge: Edge): void {
  const { scratch, c, cRow, rowsLeft, columnsLeft, adds, biasAt } = edge;
  const [i, from, to] = f.locals("i32", 3) as [L, L, L];
  const width = f.let(i32.min(columnsLeft, i32.const(tile.columns)));
  const [value, vector] = [f.local("f32"), f.local("v128")];
  f.for(i, i32.const(0), i32.min(rowsLeft, i32.const(tile.rows)), 1, () => {
    f.set(from, i32.add(scratch, i32.mul(i, i32.const(4 * tile.columns))));
    f.set(to, at(c, i, cRow));
    const [left, biasLane] = [f.let(width), f.let(biasAt)];
    const pass = (floats: number): void => {
      f.advance(from, 4 * floats);
      f.advance(to, 4 * floats);
      f.advance(biasLane, 4 * floats);
      f.advance(left, -floats);
    };
    f.while(i32.geS(left, i32.const(4)), () => {
      f.set(vector, v128.load(from));
      f.if(adds, () => f.set(vector, f32x4.add(v128.load(to), vector)));
      f.if(biasAt, () => f.set(vector, f32x4.add(vector, v128.load(biasLane))));
      f.do(v128.store(to, vector));
      pass(4);
    });
    f.while(i32.gtS(left, i32.const(0)), () => {
      f.set(value, f32.load(from));
      f.if(adds, () => f.set(value, f32.add(f32.load(to), value)));
      f.if(biasAt, () => f.set(value, f32.add(value, f32.load(biasLane))));
      f.do(f32.store(to, value));
      pass(1);
    });
  });
}
