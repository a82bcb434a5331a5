import { f32x4, i32, i32x4, type ModuleBuilder, v128 } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { beside, eachVector, loadRow, mapRow, maximumRow, RowTotal, storeRow } from "../rows/row.ts";
import { exp, log } from "../vector/functions.ts";
import {
  type AttentionCode,
  at,
  attentionFunction,
  bounded,
  bytes,
  type L,
  matrix,
  scoresOf,
  transposed,
} from "./block.ts";
import { SCORE_ROW_BYTES, scoreBlock } from "./sizes.ts";

/**
 * softmax(scale · q kᵀ + mask) v and the log-sum-exp of every row, a block of queries at a time: a unit is one head's
 * block. Softmax runs along with the keys, so that no more than one block of scores exists.
 * Source: Dao et al. 2022 (arXiv:2205.14135), algorithm 1; Milakov and Gimelshein 2018 (arXiv:1805.02867).
 * Parameters: scratch, from, to, q, k, v, o, lse, t, s, d, e, queries' heads to a key head, blocks to a head, reach,
 * window, the bits of scale.
 */
export function emitAttention(m: ModuleBuilder, tile: Tile, multiply: Multiply): void {
  attentionFunction(m, "attention", 17, tile, multiply, (code, locals) => {
    const [from, to, q, k, v, o, lse, t, s, d, e, group, blocks, reach, window, scaleBits] = locals as Sixteen;
    const { f } = code;
    const mask = { s, reach, window };
    const scale = f.let(i32x4.splat(scaleBits));
    const [unit, head, i0, rows, row, first, end, unused] = f.locals("i32", 8) as [L, L, L, L, L, L, L, L];
    f.for(unit, from, to, 1, () => {
      f.set(head, i32.divU(unit, blocks));
      f.set(i0, i32.mul(i32.remU(unit, blocks), i32.const(scoreBlock.rows)));
      f.set(rows, i32.min(i32.sub(t, i0), i32.const(scoreBlock.rows)));
      const firstRow = f.let(at(i0, head, t));
      const keyHead = f.let(i32.divU(head, group));
      const [qs, out] = [matrix(f.let(at(q, firstRow, bytes(d))), d), matrix(f.let(at(o, firstRow, bytes(e))), e)];
      const [ks, vs] = [f.let(at(k, i32.mul(keyHead, s), bytes(d))), f.let(at(v, i32.mul(keyHead, s), bytes(e)))];
      code.zero(out.at, i32.mul(rows, e));
      code.zero(code.totals, rows);
      mapRow(code.v, rows, code.tops, [], (w) => w.float(Number.NEGATIVE_INFINITY));
      code.visible(i32.sub(i32.add(i0, rows), i32.const(1)), mask, unused, end);
      code.visible(i0, mask, first, unused);
      code.eachKeyBlock(first, end, (key, count) => {
        const keys = matrix(at(ks, key, bytes(d)), d);
        code.multiply(rows, count, d, qs, transposed(keys), scoresOf(code.scores), 0);
        f.for(row, i32.const(0), rows, 1, () => {
          const [low, high] = f.locals("i32", 2) as [L, L];
          code.visible(i32.add(i0, row), mask, low, high);
          f.set(low, bounded(i32.sub(low, key), i32.const(0), count));
          f.set(high, bounded(i32.sub(high, key), low, count));
          const scores = f.let(at(code.scores, row, i32.const(SCORE_ROW_BYTES)));
          takeScores(code, { scores, count, low, high, row, scale, out: at(out.at, row, bytes(e)), e });
        });
        code.multiply(rows, e, count, scoresOf(code.scores), matrix(at(vs, key, bytes(e)), e), out, 1);
      });
      f.for(row, i32.const(0), rows, 1, () => {
        const total = code.splat(at(code.totals, row, i32.const(4)));
        const top = code.splat(at(code.tops, row, i32.const(4)));
        const target = f.let(at(out.at, row, bytes(e)));
        mapRow(code.v, e, target, [target], (w, [x]) => w.div(x!, beside(w, total)));
        const single = code.v.ofWidth(1);
        const [sum] = single.add(log(single, [total]), [top]);
        code.store(at(lse, i32.add(firstRow, row), i32.const(4)), sum!);
      });
    });
  });
}

type Sixteen = [L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L];

interface ScoreRow {
  readonly scores: L;
  readonly count: L;
  readonly low: L;
  readonly high: L;
  readonly row: L;
  readonly scale: ReturnType<AttentionCode["splat"]>;
  readonly out: ReturnType<typeof at>;
  readonly e: L;
}

/** Turns one row of scores into weights relative to the largest so far, and what was summed before likewise. */
function takeScores(code: AttentionCode, { scores, count, low, high, row, scale, out, e }: ScoreRow): void {
  const { f, v } = code;
  const single = v.ofWidth(1);
  const start = f.let(i32.add(scores, bytes(low)));
  const seen = f.let(i32.sub(high, low));
  const [topAt, totalAt] = [f.let(at(code.tops, row, i32.const(4))), f.let(at(code.totals, row, i32.const(4)))];
  const before = code.splat(topAt);
  const here = maximumRow(v, seen, [start], (w, [x]) => w.mul(x!, beside(w, scale)));
  const top = f.let(f32x4.pmax(before, here));
  // Nothing seen so far: any shift but infinity gives zeros.
  const isNothing = f.let(f32x4.eq(top, single.float(Number.NEGATIVE_INFINITY)[0]!));
  const shift = f.let(v128.andNot(top, isNothing));
  const total = RowTotal.sum(v);
  eachVector(v, seen, [start], (w, [a], part) => {
    const weights = exp(w, w.sub(w.mul(loadRow(w, a!), beside(w, scale)), beside(w, shift)));
    storeRow(w, a!, weights, part);
    total.take(w, weights, part);
  });
  const [fade] = exp(single, single.sub([before], [shift]));
  const sum = total.value();
  const faded = f32x4.mul(code.splat(totalAt), fade!);
  code.store(totalAt, f32x4.add(faded, sum));
  code.store(topAt, top);
  code.zero(scores, low);
  code.zero(i32.add(scores, bytes(high)), i32.sub(count, high));
  const isFaded = i32.ne(i32x4.lane(before, 0), i32x4.lane(top, 0));
  f.if(isFaded, () => {
    const target = f.let(out);
    mapRow(v, e, target, [target], (w, [x]) => w.mul(x!, beside(w, fade!)));
  });
}
