import { i32, i32x4, type ModuleBuilder } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { beside, eachVector, loadRow, storeRow, sumRow } from "../rows/row.ts";
import { exp } from "../vector/functions.ts";
import { at, attentionFunction, bounded, bytes, type L, matrix, scoresOf, transposed } from "./block.ts";
import { SCORE_ROW_BYTES, scoreBlock } from "./sizes.ts";

/**
 * Gradients by q, k and v from the output and its log-sum-exp. A unit is one key head: its gradients sum over the
 * queries that share it, block after block in ascending order, so bits do not depend on threads.
 * Source: Dao et al. 2022 (arXiv:2205.14135), algorithm 4.
 * Parameters: scratch, from, to, q, k, v, o, lse, g, dq, dk, dv, t, s, d, e, queries' heads to a key head, reach, window,
 * the bits of scale.
 */
export function emitAttentionBackward(m: ModuleBuilder, tile: Tile, multiply: Multiply): void {
  attentionFunction(m, "attentionBackward", 20, tile, multiply, (code, locals) => {
    const [from, to, q, k, v, o, lse, g, dq, dk, dv, t, s, d, e, group, reach, window, scaleBits] = locals as Nineteen;
    const { f } = code;
    const mask = { s, reach, window };
    const scale = f.let(i32x4.splat(scaleBits));
    const [unit, member, head, i0, rows, row, first, end, unused] = f.locals("i32", 9) as [L, L, L, L, L, L, L, L, L];
    f.for(unit, from, to, 1, () => {
      const [keyBytes, valueBytes] = [i32.mul(unit, i32.mul(s, bytes(d))), i32.mul(unit, i32.mul(s, bytes(e)))];
      const [ks, dks] = [f.let(i32.add(k, keyBytes)), f.let(i32.add(dk, keyBytes))];
      const [vs, dvs] = [f.let(i32.add(v, valueBytes)), f.let(i32.add(dv, valueBytes))];
      code.zero(dks, i32.mul(s, d));
      code.zero(dvs, i32.mul(s, e));
      f.for(member, i32.const(0), group, 1, () => {
        f.set(head, at(member, unit, group));
        f.for(i0, i32.const(0), t, scoreBlock.rows, () => {
          f.set(rows, i32.min(i32.sub(t, i0), i32.const(scoreBlock.rows)));
          const firstRow = f.let(at(i0, head, t));
          const [qOffset, oOffset] = [f.let(i32.mul(firstRow, bytes(d))), f.let(i32.mul(firstRow, bytes(e)))];
          const [qs, dqs] = [matrix(i32.add(q, qOffset), d), matrix(i32.add(dq, qOffset), d)];
          const gs = matrix(f.let(i32.add(g, oOffset)), e);
          const out = f.let(i32.add(o, oOffset));
          code.zero(dqs.at, i32.mul(rows, d));
          f.for(row, i32.const(0), rows, 1, () => {
            const offset = f.let(i32.mul(row, bytes(e)));
            const sum = sumRow(code.v, e, [i32.add(gs.at, offset), i32.add(out, offset)], (w, [a, b]) => w.mul(a!, b!));
            code.store(at(code.totals, row, i32.const(4)), sum);
          });
          code.visible(i32.sub(i32.add(i0, rows), i32.const(1)), mask, unused, end);
          code.visible(i0, mask, first, unused);
          code.eachKeyBlock(first, end, (key, count) => {
            const keys = matrix(at(ks, key, bytes(d)), d);
            const values = matrix(at(vs, key, bytes(e)), e);
            const [weights, slopes] = [scoresOf(code.scores), scoresOf(code.slopes)];
            code.multiply(rows, count, d, qs, transposed(keys), weights, 0);
            code.multiply(rows, count, e, gs, transposed(values), slopes, 0);
            f.for(row, i32.const(0), rows, 1, () => {
              const [low, high] = f.locals("i32", 2) as [L, L];
              code.visible(i32.add(i0, row), mask, low, high);
              f.set(low, bounded(i32.sub(low, key), i32.const(0), count));
              f.set(high, bounded(i32.sub(high, key), low, count));
              const offset = f.let(i32.mul(row, i32.const(SCORE_ROW_BYTES)));
              const [p, ds] = [f.let(i32.add(code.scores, offset)), f.let(i32.add(code.slopes, offset))];
              const shift = code.splat(at(lse, i32.add(firstRow, row), i32.const(4)));
              const mean = code.splat(at(code.totals, row, i32.const(4)));
              const starts = [i32.add(p, bytes(low)), i32.add(ds, bytes(low))];
              eachVector(code.v, i32.sub(high, low), starts, (w, [a, b], part) => {
                const scaled = w.mul(loadRow(w, a!), beside(w, scale));
                const weight = exp(w, w.sub(scaled, beside(w, shift)));
                const slope = w.mul(w.mul(weight, w.sub(loadRow(w, b!), beside(w, mean))), beside(w, scale));
                storeRow(w, a!, weight, part);
                storeRow(w, b!, slope, part);
              });
              for (const base of [p, ds]) {
                code.zero(base, low);
                code.zero(i32.add(base, bytes(high)), i32.sub(count, high));
              }
            });
            code.multiply(count, e, rows, transposed(weights), gs, matrix(at(dvs, key, bytes(e)), e), 1);
            code.multiply(count, d, rows, transposed(slopes), qs, matrix(at(dks, key, bytes(d)), d), 1);
            code.multiply(rows, d, count, slopes, keys, dqs, 1);
          });
        });
      });
    });
  });
}

type Nineteen = [L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L];
