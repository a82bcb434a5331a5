import { f32, f32x4, type I32, i32, i32x4, type V128 } from "../assembler/index.ts";
import { beside, sumRow } from "../rows/row.ts";
import { type AttentionCode, at, bytes, type KeyBlock, type L } from "./block.ts";
import { KEY_BYTES } from "./sizes.ts";

// A bias lies anywhere: the one for query r and key c of a block of scores is r · query bytes + c floats behind the first. A step of 0 is a
// bias a key, which all queries of a row of scores share.

/** What is added to the scores of a head; `address` is 0 where nothing is. */
export interface Bias {
  /** That of the block's first query and key 0. */
  readonly address: L;
  /** Bytes from one query to the next. */
  readonly query: L;
}

/** Parameters that say where the bias lies. */
export const biasParameters = ["bias", "biasBatch", "biasHead", "biasQuery"] as const;
export type BiasParameters = Readonly<Record<(typeof biasParameters)[number], L>>;

/** Scores of a block times the scale, plus the bias. */
export function addBias(code: AttentionCode, rows: L, block: KeyBlock, { address, query }: Bias, scale: V128): void {
  const { f, w } = code;
  eachKey(code, block, address, code.scores, (scores, bias) => {
    f.if(
      query,
      () =>
        eachPair(code, rows, scores, bias, query, (score, b) => {
          const scaled = f32.mul(f32.load(score), f32x4.lane(scale, 0));
          f.do(f32.store(score, f32.add(scaled, f32.load(b))));
        }),
      () => {
        const added = code.splat(bias);
        eachVectors(code, rows, scores, (at) => {
          code.storeStrip(at, w.add(w.mul(code.loadStrip(at), beside(w, scale)), beside(w, added)));
        });
      },
    );
  });
}

/** Adds the slopes of a block to the bias' gradient, in ascending order of queries. */
export function addToBiasGradient(code: AttentionCode, rows: L, block: KeyBlock, { address, query }: Bias): void {
  const { f } = code;
  eachKey(code, block, address, code.slopes, (slopes, target) => {
    const add = (to: L, x: ReturnType<typeof f32.load>): void => f.do(f32.store(to, f32.add(f32.load(to), x)));
    f.if(
      query,
      () => eachPair(code, rows, slopes, target, query, (slope, to) => add(to, f32.load(slope))),
      () =>
        add(
          target,
          f32x4.lane(
            sumRow(code.v, rows, [slopes], (_, [x]) => x!),
            0,
          ),
        ),
    );
  });
}

/** Slopes of a block times the scale. */
export function scaleSlopes(code: AttentionCode, rows: L, block: KeyBlock, scale: V128): void {
  const { w } = code;
  eachKey(code, block, i32.const(0), code.slopes, (slopes) => {
    eachVectors(code, rows, slopes, (at) => code.storeStrip(at, w.mul(code.loadStrip(at), beside(w, scale))));
  });
}

/** The addresses of every key's row in a matrix of scores, and of its bias. */
function eachKey(
  { f }: AttentionCode,
  { first, count }: KeyBlock,
  bias: I32,
  matrix: I32,
  body: (scores: L, bias: L) => void,
): void {
  const key = f.local("i32");
  const [scores, place] = [f.let(matrix), f.let(i32.add(bias, bytes(first)))];
  f.for(key, i32.const(0), count, 1, () => {
    body(scores, place);
    f.advance(scores, KEY_BYTES);
    f.advance(place, 4);
  });
}

function eachPair(
  { f }: AttentionCode,
  rows: L,
  scores: L,
  bias: L,
  query: L,
  body: (score: L, bias: L) => void,
): void {
  const row = f.local("i32");
  const [score, place] = [f.let(scores), f.let(bias)];
  f.for(row, i32.const(0), rows, 1, () => {
    body(score, place);
    f.advance(score, 4);
    f.advance(place, query);
  });
}

/** Strips of a row of scores, the last one whole. */
function eachVectors({ f, w }: AttentionCode, rows: L, scores: L, body: (at: L) => void): void {
  const row = f.local("i32");
  const place = f.let(scores);
  f.for(row, i32.const(0), rows, 4 * w.width, () => {
    body(place);
    f.advance(place, 16 * w.width);
  });
}

/** The bias of a head's query, seen from the parameters: its address stays 0 where there is none. */
export function biasOf(
  code: AttentionCode,
  { bias, biasBatch, biasHead, biasQuery }: BiasParameters,
  [batch, head, query]: readonly [I32, I32, I32],
): Bias {
  const address = code.f.let(bias);
  code.f.if(bias, () => code.f.set(address, at(at(at(bias, batch, biasBatch), head, biasHead), query, biasQuery)));
  return { address, query: biasQuery };
}

/** Bits of what strips multiply scores by: 1 where the bias' pass has done it. */
export const stripScale = (code: AttentionCode, bias: L, scaleBits: L): V128 => {
  const { f } = code;
  const bits = f.let(scaleBits);
  f.if(bias, () => f.set(bits, i32.const(0x3f800000)));
  return f.let(i32x4.splat(bits));
};
