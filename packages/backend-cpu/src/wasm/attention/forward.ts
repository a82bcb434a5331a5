import { f32x4, type I32, i32, i32x4, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { beside, mapRow } from "../rows/row.ts";
import { exp, log } from "../vector/functions.ts";
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
    const [unit, head, i0, rows, row] = f.locals("i32", 5) as [L, L, L, L, L];
    f.for(unit, from, to, 1, () => {
      f.set(head, i32.divU(unit, blocks));
      f.set(i0, i32.mul(i32.remU(unit, blocks), i32.const(scoreBlock.queries)));
      f.set(rows, i32.min(i32.sub(t, i0), i32.const(scoreBlock.queries)));
      const firstRow = f.let(at(i0, head, t));
      const keyHead = f.let(i32.divU(head, group));
      const [qs, out] = [matrix(f.let(at(q, firstRow, bytes(d))), d), matrix(f.let(at(o, firstRow, bytes(e))), e)];
      const [ks, vs] = [f.let(at(k, i32.mul(keyHead, s), bytes(d))), f.let(at(v, i32.mul(keyHead, s), bytes(e)))];
      code.zero(out.at, i32.mul(rows, e));
      code.fill(code.totals, 0);
      code.fill(code.tops, Number.NEGATIVE_INFINITY);
      code.eachKeyBlock(i0, rows, mask, (block) => {
        const keys = matrix(at(ks, block.first, bytes(d)), d);
        code.multiply(block.count, rows, d, keys, transposed(qs), scoresOf(code.scores), 0);
        code.eachStrip(i0, rows, mask, block, (strip) => takeScores(code, strip, scale));
        fade(code, rows, out.at, e);
        const values = matrix(at(vs, block.first, bytes(e)), e);
        code.multiply(rows, e, block.count, transposed(scoresOf(code.scores)), values, out, 1);
      });
      f.for(row, i32.const(0), rows, 1, () => {
        const total = code.splat(at(code.totals, row, i32.const(4)));
        const target = f.let(at(out.at, row, bytes(e)));
        mapRow(code.v, e, target, [target], (w, [x]) => w.div(x!, beside(w, total)));
      });
      const sums = at(lse, firstRow, i32.const(4));
      mapRow(code.v, rows, sums, [code.totals, code.tops], (w, [total, top]) => w.add(log(w, total!), top!));
    });
  });
}

type Sixteen = [L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L];

/** Turns the scores of a strip into weights relative to the largest so far; by how much that fades what was summed before is stored. */
function takeScores(code: AttentionCode, strip: Strip, scale: V128): void {
  const { f, w, scores } = code;
  const place = (base: L): L => f.let(i32.add(base, strip.offset));
  const [topsAt, totalsAt, fadesAt] = [place(code.tops), place(code.totals), place(code.fades)];
  const before = code.loadStrip(topsAt);
  const tops = w.map((i) => before[i]!) as readonly Local<"v128">[];
  strip.eachKey([scores], ([a], hide) => {
    const seen = hide(w.mul(code.loadStrip(a!), beside(w, scale)), Number.NEGATIVE_INFINITY);
    for (const [i, top] of tops.entries()) f.set(top, f32x4.pmax(top, seen[i]!));
  });
  // Nothing seen so far: any shift but infinity gives zeros.
  const isNothing = w.binary(f32x4.eq, tops, w.float(Number.NEGATIVE_INFINITY));
  const shift = w.map((i) => v128.andNot(tops[i]!, isNothing[i]!));
  const sums = w.map(() => f32x4.const(0)) as readonly Local<"v128">[];
  strip.eachKey([scores], ([a], hide) => {
    const weights = hide(exp(w, w.sub(w.mul(code.loadStrip(a!), beside(w, scale)), shift)), 0);
    code.storeStrip(a!, weights);
    for (const [i, sum] of sums.entries()) f.set(sum, f32x4.add(sum, weights[i]!));
  });
  strip.zeroRest([scores]);
  const fades = exp(w, w.sub(before, shift));
  code.storeStrip(totalsAt, w.add(w.mul(code.loadStrip(totalsAt), fades), sums));
  code.storeStrip(topsAt, tops);
  code.storeStrip(fadesAt, fades);
}

/** Scales the rows whose largest score has grown. */
function fade(code: AttentionCode, rows: L, out: I32, e: L): void {
  const { f, v } = code;
  const row = f.local("i32");
  f.for(row, i32.const(0), rows, 1, () => {
    const factor = code.splat(at(code.fades, row, i32.const(4)));
    f.if(i32.ne(i32x4.lane(factor, 0), i32.const(ONE)), () => {
      const target = f.let(at(out, row, bytes(e)));
      mapRow(v, e, target, [target], (w, [x]) => w.mul(x!, beside(w, factor)));
    });
  });
}
/** The bits of 1. */
const ONE = 0x3f800000;
