import { i32, i32x4, type ModuleBuilder, type V128 } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { beside, mapRow, sumRow } from "../rows/row.ts";
import { exp } from "../vector/functions.ts";
import {
  type AttentionCode,
  at,
  attentionFunction,
  bytes,
  type L,
  matrix,
  type Strip,
  scoresOf,
  transposed,
} from "./block.ts";
import { scoreBlock } from "./sizes.ts";

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
    const [unit, member, head, i0, rows, row] = f.locals("i32", 6) as [L, L, L, L, L, L];
    f.for(unit, from, to, 1, () => {
      const [keyBytes, valueBytes] = [i32.mul(unit, i32.mul(s, bytes(d))), i32.mul(unit, i32.mul(s, bytes(e)))];
      const [ks, dks] = [f.let(i32.add(k, keyBytes)), f.let(i32.add(dk, keyBytes))];
      const [vs, dvs] = [f.let(i32.add(v, valueBytes)), f.let(i32.add(dv, valueBytes))];
      code.zero(dks, i32.mul(s, d));
      code.zero(dvs, i32.mul(s, e));
      f.for(member, i32.const(0), group, 1, () => {
        f.set(head, at(member, unit, group));
        f.for(i0, i32.const(0), t, scoreBlock.queries, () => {
          f.set(rows, i32.min(i32.sub(t, i0), i32.const(scoreBlock.queries)));
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
          mapRow(code.v, rows, code.tops, [at(lse, firstRow, i32.const(4))], (_, [x]) => x!);
          code.eachKeyBlock(i0, rows, mask, (block) => {
            const { first, count } = block;
            const keys = matrix(at(ks, first, bytes(d)), d);
            const values = matrix(at(vs, first, bytes(e)), e);
            const [weights, slopes] = [scoresOf(code.scores), scoresOf(code.slopes)];
            code.multiply(count, rows, d, keys, transposed(qs), weights, 0);
            code.multiply(count, rows, e, values, transposed(gs), slopes, 0);
            code.eachStrip(i0, rows, mask, block, (strip) => takeSlopes(code, strip, scale));
            code.multiply(count, e, rows, weights, gs, matrix(at(dvs, first, bytes(e)), e), 1);
            code.multiply(count, d, rows, slopes, qs, matrix(at(dks, first, bytes(d)), d), 1);
            code.multiply(rows, d, count, transposed(slopes), keys, dqs, 1);
          });
        });
      });
    });
  });
}

type Nineteen = [L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L];

/** Turns the scores of a strip into weights, and the gradients by weights into gradients by scores. */
function takeSlopes(code: AttentionCode, strip: Strip, scale: V128): void {
  const { f, w } = code;
  const [shift, mean] = [code.tops, code.totals].map((base) => code.loadStrip(f.let(i32.add(base, strip.offset))));
  strip.eachKey([code.scores, code.slopes], ([a, b], hide) => {
    const weight = exp(w, w.sub(w.mul(code.loadStrip(a!), beside(w, scale)), shift!));
    const slope = w.mul(w.mul(weight, w.sub(code.loadStrip(b!), mean!)), beside(w, scale));
    code.storeStrip(a!, hide(weight, 0));
    code.storeStrip(b!, hide(slope, 0));
  });
  strip.zeroRest([code.scores, code.slopes]);
}
