import type { FunctionBuilder } from "../assembler/function.ts";
import { f32x4, type I32, i32, i32x4, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { beside, mapRow } from "../rows/row.ts";
import { exp, log } from "../vector/functions.ts";
import { addBias, biasOf, biasParameters, stripScale } from "./bias.ts";
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
import { eachRun, listOf, listParameters, rowsFrom } from "./list.ts";
import { scoreBlock } from "./sizes.ts";

const operands = ["q", "k", "v", "o", "lse", "d", "e", "scaleBits", "pieces"] as const;
/** What forward is given, in this order, after scratch and units. `pieces` is how many blocks of scores a block of queries needs. */
export const forwardParameters: readonly (
  | (typeof operands)[number]
  | (typeof listParameters)[number]
  | (typeof biasParameters)[number]
)[] = [...operands, ...listParameters, ...biasParameters];

/**
 * softmax(scale · q kᵀ + bias) v over the runs of a list, and the log-sum-exp of every row: a unit is one head's block of scores. Softmax runs
 * along with the keys, so that no more than one block of scores exists.
 * Source: Dao et al. 2022 (arXiv:2205.14135), algorithm 1; Milakov and Gimelshein 2018 (arXiv:1805.02867).
 */
export function emitAttention(m: ModuleBuilder, tile: Tile, multiply: Multiply, gemm: FunctionBuilder): void {
  attentionFunction(m, "attention", forwardParameters, tile, multiply, gemm, (code, p) => {
    const { f } = code;
    const { q, k, v, o, lse, t, s, d, e, group, blocks, pieces, blockSize } = p;
    const scale = f.let(i32x4.splat(p.scaleBits));
    const ofStrips = stripScale(code, p.bias, p.scaleBits);
    const [unit, head, piece, row, i0, rows, line] = f.locals("i32", 7) as [L, L, L, L, L, L, L];
    const perHead = f.let(i32.mul(blocks, pieces));
    f.for(unit, p.from, p.to, 1, () => {
      f.set(head, i32.divU(unit, perHead));
      f.set(piece, i32.remU(unit, perHead));
      f.set(row, i32.divU(piece, pieces));
      f.set(i0, i32.mul(i32.remU(piece, pieces), i32.const(scoreBlock.queries)));
      f.set(rows, rowsFrom(i0, row, p));
      f.if(i32.gtS(rows, i32.const(0)), () => {
        const query = f.let(i32.add(i32.mul(row, blockSize), i0));
        const firstRow = f.let(at(query, head, t));
        const keyHead = f.let(i32.divU(head, group));
        const heads = i32.mul(group, p.keyHeads);
        const bias = biasOf(code, p, [i32.divU(head, heads), i32.remU(head, heads), query]);
        const [qs, out] = [matrix(f.let(at(q, firstRow, bytes(d))), d), matrix(f.let(at(o, firstRow, bytes(e))), e)];
        const [ks, vs] = [f.let(at(k, i32.mul(keyHead, s), bytes(d))), f.let(at(v, i32.mul(keyHead, s), bytes(e)))];
        code.zero(out.at, i32.mul(rows, e));
        code.fill(code.totals, 0);
        code.fill(code.tops, Number.NEGATIVE_INFINITY);
        eachRun(f, listOf(f, keyHead, p), row, p, [i32.const(0), s], (run) =>
          code.eachKeyBlock(i0, rows, run, (block) => {
            const keys = matrix(at(ks, block.first, bytes(d)), d);
            code.multiply(block.count, rows, d, keys, transposed(qs), scoresOf(code.scores), 0);
            f.if(p.bias, () => addBias(code, rows, block, bias, scale));
            code.eachStrip(i0, rows, run, block, (strip) => takeScores(code, strip, ofStrips));
            fade(code, rows, out.at, e);
            const values = matrix(at(vs, block.first, bytes(e)), e);
            code.multiply(rows, e, block.count, transposed(scoresOf(code.scores)), values, out, 1);
          }),
        );
        f.for(line, i32.const(0), rows, 1, () => {
          const total = code.splat(at(code.totals, line, i32.const(4)));
          // A query that has seen nothing has zeros to divide.
          const divisor = f.let(f32x4.max(total, f32x4.const(SMALLEST)));
          const target = f.let(at(out.at, line, bytes(e)));
          mapRow(code.v, e, target, [target], (w, [x]) => w.div(x!, beside(w, divisor)));
        });
        const sums = at(lse, firstRow, i32.const(4));
        mapRow(code.v, rows, sums, [code.totals, code.tops], (w, [total, top]) => w.add(log(w, total!), top!));
      });
    });
  });
}

/** Below every total: the largest weight is 1. */
const SMALLEST = 2 ** -60;

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
