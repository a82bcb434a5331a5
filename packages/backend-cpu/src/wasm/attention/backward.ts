import type { FunctionBuilder } from "../assembler/function.ts";
import { f32x4, i32, i32x4, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { beside, mapRow, sumRow } from "../rows/row.ts";
import { exp } from "../vector/functions.ts";
import { addBias, addToBiasGradient, biasOf, biasParameters, scaleSlopes, stripScale } from "./bias.ts";
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

/** What the first pass is given: rows of outputs and their gradients, and the gradient by the log-sum-exp, or 0. */
export const prepareParameters = ["o", "g", "lse", "ofLse", "shift", "delta", "e"] as const;

/**
 * What every row of scores needs in backward: its shift, the log-sum-exp (infinity, which makes all weights zero, for a query that saw
 * nothing), and delta, g · o less the gradient by the log-sum-exp. A unit is a row.
 */
export function emitAttentionPrepare(m: ModuleBuilder, tile: Tile, multiply: Multiply, gemm: FunctionBuilder): void {
  attentionFunction(m, "attentionPrepare", prepareParameters, tile, multiply, gemm, (code, p) => {
    const { f } = code;
    const row = f.local("i32");
    const place = (base: L): ReturnType<typeof at> => at(base, row, i32.const(4));
    f.for(row, p.from, p.to, 1, () => {
      const [gs, os] = [f.let(at(p.g, row, bytes(p.e))), f.let(at(p.o, row, bytes(p.e)))];
      const sum = sumRow(code.v, p.e, [gs, os], (w, [a, b]) => w.mul(a!, b!));
      f.if(p.ofLse, () => f.set(sum, f32x4.sub(sum, code.splat(place(p.ofLse)))));
      code.store(place(p.delta), sum);
      const stored = code.splat(place(p.lse));
      const isNothing = f32x4.eq(stored, f32x4.const(Number.NEGATIVE_INFINITY));
      code.store(place(p.shift), v128.bitSelect(f32x4.const(Number.POSITIVE_INFINITY), stored, isNothing));
    });
  });
}

const operands = [
  "q",
  "k",
  "v",
  "shift",
  "delta",
  "g",
  "dq",
  "dk",
  "dv",
  "db",
  "dbHead",
  "d",
  "e",
  "scaleBits",
] as const;
const division = ["queryParts", "keyParts", "blocksPerPart", "keysPerPart", "wantsQueries", "wantsKeys"] as const;
/** What backward is given, in this order. */
export const backwardParameters: readonly (
  | (typeof operands)[number]
  | (typeof division)[number]
  | (typeof listParameters)[number]
  | (typeof biasParameters)[number]
)[] = [...operands, ...division, ...listParameters, ...biasParameters];

/**
 * Gradients by q, k, v and a bias from the output and its log-sum-exp. A unit is one key head's keys of a part and queries of a part. It
 * goes through the list in the order of queries: that every key's sums over the queries that see it ascend, block after block, whatever
 * the parts. So bits depend on neither parts nor threads; a sum over keys is whole only where the unit has all keys.
 * Source: Dao et al. 2022 (arXiv:2205.14135), algorithm 4.
 */
export function emitAttentionBackward(m: ModuleBuilder, tile: Tile, multiply: Multiply, gemm: FunctionBuilder): void {
  attentionFunction(m, "attentionBackward", backwardParameters, tile, multiply, gemm, (code, p) => {
    const { f } = code;
    const { t, s, d, e, group, blocks, blockSize } = p;
    const scale = f.let(i32x4.splat(p.scaleBits));
    const ofStrips = stripScale(code, p.bias, p.scaleBits);
    const [unit, keyHead, part, member, head, row, i0, rows] = f.locals("i32", 8) as [L, L, L, L, L, L, L, L];
    const parts = f.let(i32.mul(p.queryParts, p.keyParts));
    f.for(unit, p.from, p.to, 1, () => {
      f.set(keyHead, i32.divU(unit, parts));
      f.set(part, i32.remU(unit, parts));
      const firstKey = f.let(i32.mul(i32.remU(part, p.keyParts), p.keysPerPart));
      const endKey = f.let(i32.min(s, i32.add(firstKey, p.keysPerPart)));
      const firstBlock = f.let(i32.mul(i32.divU(part, p.keyParts), p.blocksPerPart));
      const endBlock = f.let(i32.min(blocks, i32.add(firstBlock, p.blocksPerPart)));
      const list = listOf(f, keyHead, p);
      const [keyBytes, valueBytes] = [i32.mul(keyHead, i32.mul(s, bytes(d))), i32.mul(keyHead, i32.mul(s, bytes(e)))];
      const [ks, dks] = [f.let(i32.add(p.k, keyBytes)), f.let(i32.add(p.dk, keyBytes))];
      const [vs, dvs] = [f.let(i32.add(p.v, valueBytes)), f.let(i32.add(p.dv, valueBytes))];
      f.if(p.wantsKeys, () => {
        const count = i32.max(i32.const(0), i32.sub(endKey, firstKey));
        code.zero(at(dks, firstKey, bytes(d)), i32.mul(count, d));
        code.zero(at(dvs, firstKey, bytes(e)), i32.mul(count, e));
      });
      f.for(member, i32.const(0), group, 1, () => {
        f.set(head, at(member, keyHead, group));
        f.for(row, firstBlock, endBlock, 1, () =>
          f.for(i0, i32.const(0), blockSize, scoreBlock.queries, () => {
            f.set(rows, rowsFrom(i0, row, p));
            f.if(i32.gtS(rows, i32.const(0)), () => {
              const query = f.let(i32.add(i32.mul(row, blockSize), i0));
              const firstRow = f.let(at(query, head, t));
              const [qOffset, gOffset] = [f.let(i32.mul(firstRow, bytes(d))), f.let(i32.mul(firstRow, bytes(e)))];
              const [qs, dqs] = [matrix(i32.add(p.q, qOffset), d), matrix(i32.add(p.dq, qOffset), d)];
              const gs = matrix(f.let(i32.add(p.g, gOffset)), e);
              const heads = i32.mul(group, p.keyHeads);
              const place = [i32.divU(head, heads), i32.remU(head, heads), query] as const;
              const bias = biasOf(code, p, place);
              // Every head has a gradient of its own.
              const ofGradient = { ...p, bias: p.db, biasBatch: f.let(i32.mul(heads, p.dbHead)), biasHead: p.dbHead };
              const gradient = biasOf(code, ofGradient, place);
              f.if(p.wantsQueries, () => code.zero(dqs.at, i32.mul(rows, d)));
              eachRun(f, list, row, p, [firstKey, endKey], (run) => {
                const queriesOwn = (base: L): ReturnType<typeof at> => at(base, firstRow, i32.const(4));
                mapRow(code.v, rows, code.totals, [queriesOwn(p.delta)], (_, [x]) => x!);
                mapRow(code.v, rows, code.tops, [queriesOwn(p.shift)], (_, [x]) => x!);
                code.eachKeyBlock(i0, rows, run, (block) => {
                  const { first, count } = block;
                  const keys = matrix(at(ks, first, bytes(d)), d);
                  const values = matrix(at(vs, first, bytes(e)), e);
                  const [weights, slopes] = [scoresOf(code.scores), scoresOf(code.slopes)];
                  code.multiply(count, rows, d, keys, transposed(qs), weights, 0);
                  f.if(p.bias, () => addBias(code, rows, block, bias, scale));
                  code.multiply(count, rows, e, values, transposed(gs), slopes, 0);
                  code.eachStrip(i0, rows, run, block, (strip) => takeSlopes(code, strip, ofStrips));
                  f.if(p.db, () => addToBiasGradient(code, rows, block, gradient));
                  f.if(p.bias, () => scaleSlopes(code, rows, block, scale));
                  f.if(p.wantsKeys, () => {
                    code.multiply(count, e, rows, weights, gs, matrix(at(dvs, first, bytes(e)), e), 1);
                    code.multiply(count, d, rows, slopes, qs, matrix(at(dks, first, bytes(d)), d), 1);
                  });
                  f.if(p.wantsQueries, () => code.multiply(rows, d, count, transposed(slopes), keys, dqs, 1));
                });
              });
            });
          }),
        );
      });
    });
  });
}

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
