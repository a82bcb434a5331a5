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

/**
 * C (+)= A · B on [rows, k] by [k, columns] matrices with any strides (in bytes), C's columns side by side: blocks packed for the
 * caches, then tiles. Every sum runs over ascending k in blocks of `block.k`, whatever the tile and whichever part of C is
 * asked for. Source: Goto and van de Geijn 2008 (doi:10.1145/1356052.1356053).
 */
export function emitGemm(m: ModuleBuilder, tile: Tile, multiply: Multiply): FunctionBuilder {
  const micro = microkernel(m, tile, multiply);
  const packA = packer(m, tile.rows);
  const packB = tile.rows === tile.columns ? packA : packer(m, tile.columns);
  const bOffset = edgeBytes + 4 * block.k * (block.rows + tile.rows);
  const parameters = Array.from({ length: 14 }, () => "i32" as const);
  return m.function("gemm", parameters, (f, ...locals) => {
    const [scratch, rows, columns, k, a, aRow, aStep, b, bStep, bColumn, c, cRow, isAdded, bias] = locals as Fixed14;
    const [packedA, packedB] = [
      f.let(i32.add(scratch, i32.const(edgeBytes))),
      f.let(i32.add(scratch, i32.const(bOffset))),
    ];
    const [jc, pc, ic, jr, ir] = f.locals("i32", 5) as [L, L, L, L, L];
    const [nc, kc, mc, aAt, bAt, cAt, adds, biasAt, rowsLeft, columnsLeft] = f.locals("i32", 10) as [
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
    const rest = (to: L, end: I32, i: L, most: number): void => f.set(to, i32.min(i32.sub(end, i), i32.const(most)));
    const at = (base: I32, i: I32, step: I32): I32 => i32.add(base, i32.mul(i, step));
    f.for(jc, i32.const(0), columns, block.columns, () => {
      rest(nc, columns, jc, block.columns);
      f.for(pc, i32.const(0), k, block.k, () => {
        rest(kc, k, pc, block.k);
        f.set(adds, i32.or(isAdded, pc));
        f.call(packB, packedB, at(at(b, pc, bStep), jc, bColumn), bColumn, bStep, nc, kc);
        f.for(ic, i32.const(0), rows, block.rows, () => {
          rest(mc, rows, ic, block.rows);
          f.call(packA, packedA, at(at(a, ic, aRow), pc, aStep), aRow, aStep, mc, kc);
          f.set(bAt, packedB);
          f.for(jr, i32.const(0), nc, tile.columns, () => {
            f.set(aAt, packedA);
            f.set(cAt, i32.add(at(c, ic, cRow), i32.shl(i32.add(jc, jr), i32.const(2))));
            f.set(columnsLeft, i32.sub(nc, jr));
            // The bias joins when the sum is complete.
            const isLast = i32.geS(i32.add(pc, kc), k);
            f.set(
              biasAt,
              select(
                i32.add(bias, i32.shl(i32.add(jc, jr), i32.const(2))),
                i32.const(0),
                i32.and(isLast, i32.ne(bias, i32.const(0))),
              ),
            );
            f.for(ir, i32.const(0), mc, tile.rows, () => {
              f.set(rowsLeft, i32.sub(mc, ir));
              const isWhole = i32.and(
                i32.geS(rowsLeft, i32.const(tile.rows)),
                i32.geS(columnsLeft, i32.const(tile.columns)),
              );
              f.if(
                isWhole,
                () => f.call(micro, aAt, bAt, kc, cAt, cRow, adds, biasAt),
                () => {
                  f.call(micro, aAt, bAt, kc, scratch, i32.const(4 * tile.columns), i32.const(0), i32.const(0));
                  copyEdge(f, tile, { scratch, c: cAt, cRow, rowsLeft, columnsLeft, adds, biasAt });
                },
              );
              f.advance(aAt, i32.mul(kc, i32.const(4 * tile.rows)));
              f.advance(cAt, i32.mul(cRow, i32.const(tile.rows)));
            });
            f.advance(bAt, i32.mul(kc, i32.const(4 * tile.columns)));
          });
        });
      });
    });
  });
}

type L = Local<"i32">;
type Fixed14 = [L, L, L, L, L, L, L, L, L, L, L, L, L, L];

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
