import {
  type FunctionBuilder,
  f32,
  type I32,
  i32,
  type Local,
  type ModuleBuilder,
  select,
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
        const cAt = i32.add(c, i32.shl(jc, i32.const(2)));
        const adds = i32.or(isAdded, pc);
        const biasAt = lastBias(bias, i32.shl(jc, i32.const(2)), i32.add(pc, kc), k);
        f.call(gemmBlock, scratch, rows, nc, kc, at(a, pc, aStep), aRow, aStep, packedB, cAt, cRow, adds, biasAt);
      });
    });
  });
  return { gemm, gemmBlock, packB };
}

/** The address i steps on. */
export const at = (base: I32, i: I32, step: I32): I32 => i32.add(base, i32.mul(i, step));
/** What is left from i to the end, `most` at most. */
export const rest = (end: I32, i: I32, most: number): I32 => i32.min(i32.sub(end, i), i32.const(most));
/** The bias joins when the sum is complete; none is address 0. */
export const lastBias = (bias: I32, offset: I32, done: I32, k: I32): I32 =>
  select(i32.add(bias, offset), i32.const(0), i32.and(i32.geS(done, k), i32.ne(bias, i32.const(0))));

/** A times one packed block of B: blocks of A are packed, then tile after tile. */
function emitBlock(m: ModuleBuilder, tile: Tile, multiply: Multiply, packA: FunctionBuilder): FunctionBuilder {
  const micro = microkernel(m, tile, multiply);
  const parameters = Array.from({ length: 12 }, () => "i32" as const);
  return m.function("gemmBlock", parameters, (f, ...locals) => {
    const [scratch, rows, columns, k, a, aRow, aStep, packedB, c, cRow, isAdded, bias] = locals as Fixed12;
    const packedA = f.let(i32.add(scratch, i32.const(edgeBytes)));
    const [ic, jr, ir, mc, aAt, bAt, cAt, biasAt, rowsLeft, columnsLeft] = f.locals("i32", 10) as Fixed10;
    f.for(ic, i32.const(0), rows, block.rows, () => {
      f.set(mc, rest(rows, ic, block.rows));
      f.call(packA, packedA, at(a, ic, aRow), aRow, aStep, mc, k);
      f.set(bAt, packedB);
      f.set(biasAt, bias);
      f.for(jr, i32.const(0), columns, tile.columns, () => {
        f.set(aAt, packedA);
        f.set(cAt, i32.add(at(c, ic, cRow), i32.shl(jr, i32.const(2))));
        f.set(columnsLeft, i32.sub(columns, jr));
        f.for(ir, i32.const(0), mc, tile.rows, () => {
          f.set(rowsLeft, i32.sub(mc, ir));
          const isWhole = i32.and(
            i32.geS(rowsLeft, i32.const(tile.rows)),
            i32.geS(columnsLeft, i32.const(tile.columns)),
          );
          f.if(
            isWhole,
            () => f.call(micro, aAt, bAt, k, cAt, cRow, isAdded, biasAt),
            () => {
              f.call(micro, aAt, bAt, k, scratch, i32.const(4 * tile.columns), i32.const(0), i32.const(0));
              copyEdge(f, tile, { scratch, c: cAt, cRow, rowsLeft, columnsLeft, adds: isAdded, biasAt });
            },
          );
          f.advance(aAt, i32.mul(k, i32.const(4 * tile.rows)));
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
  const [i, j, from, to] = f.locals("i32", 4) as [L, L, L, L];
  const value = f.local("f32");
  f.for(i, i32.const(0), i32.min(rowsLeft, i32.const(tile.rows)), 1, () => {
    f.set(from, i32.add(scratch, i32.mul(i, i32.const(4 * tile.columns))));
    f.set(to, i32.add(c, i32.mul(i, cRow)));
    f.for(j, i32.const(0), i32.min(columnsLeft, i32.const(tile.columns)), 1, () => {
      f.set(value, f32.load(from));
      f.if(adds, () => f.set(value, f32.add(f32.load(to), value)));
      f.if(biasAt, () => f.set(value, f32.add(value, f32.load(i32.add(biasAt, i32.shl(j, i32.const(2)))))));
      f.do(f32.store(to, value));
      f.advance(from, 4);
      f.advance(to, 4);
    });
  });
}
