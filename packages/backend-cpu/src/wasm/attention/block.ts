import {
  type FunctionBuilder,
  f32,
  f32x4,
  type I32,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  type V128,
  v128,
} from "../assembler/index.ts";
import { gemmScratchBytes, type Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { mapRow } from "../rows/row.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { KEY_BYTES, layout, scoreBlock } from "./sizes.ts";

export type L = Local<"i32">;

/** A matrix of floats in memory, steps in bytes. */
export interface Operand {
  readonly at: I32;
  readonly row: I32;
  readonly column: I32;
}

/** A run of keys: query i of the block sees [i + low, i + high) of [from, to). */
export interface Run {
  readonly from: L;
  readonly to: L;
  readonly low: L;
  readonly high: L;
}

/** Keys of a block: the first, and how many. */
export interface KeyBlock {
  readonly first: L;
  readonly count: L;
}

/** Neighbouring queries, one a lane, and a block of keys. */
export interface Strip {
  /** The first query, counted in the block of queries: bytes of its float. */
  readonly offset: L;
  /** Runs `body` for the keys that some of the queries see, with the addresses of their scores in the matrices at `bases`. */
  eachKey(bases: readonly I32[], body: (addresses: readonly L[], hide: Hide) => void): void;
  /** Zeroes the scores of the keys that no query of the strip sees. */
  zeroRest(bases: readonly I32[]): void;
}
/** Puts a value in the lanes of queries that do not see the key. */
export type Hide = (values: Vectors, value: number) => Vectors;

export const bytes = (count: I32): I32 => i32.shl(count, i32.const(2));
export const at = (base: I32, index: I32, step: I32): I32 => i32.add(base, i32.mul(index, step));
const bounded = (x: I32, low: I32, high: I32): I32 => i32.max(low, i32.min(x, high));
const lanesFrom = (n: number): V128 => i32x4.constants([n, n + 1, n + 2, n + 3]);

/** Row-major `[rows, columns]`, or its transpose. */
export const matrix = (base: I32, columns: I32): Operand => ({ at: base, row: bytes(columns), column: i32.const(4) });
export const transposed = ({ at, row, column }: Operand): Operand => ({ at, row: column, column: row });
/** `[keys, queries]` */
export const scoresOf = (base: I32): Operand => ({ at: base, row: i32.const(KEY_BYTES), column: i32.const(4) });

/** The code that forward and backward have in common, in one function. */
export class AttentionCode {
  readonly f: FunctionBuilder;
  /** For rows. */
  readonly v: VectorCode;
  /** For strips of queries: a tile's columns. */
  readonly w: VectorCode;
  readonly scores: L;
  readonly slopes: L;
  readonly tops: L;
  readonly totals: L;
  readonly fades: L;
  readonly #gemm: FunctionBuilder;
  readonly #scratch: L;

  constructor(f: FunctionBuilder, scratch: L, tile: Tile, multiply: Multiply, gemm: FunctionBuilder) {
    this.f = f;
    this.v = new VectorCode(f, 4, multiply, scratch);
    this.w = this.v.ofWidth(tile.columns / 4);
    this.#gemm = gemm;
    this.#scratch = scratch;
    const own = gemmScratchBytes(tile);
    const place = (offset: number): L => f.let(i32.add(scratch, i32.const(own + offset)));
    this.scores = place(layout.scores);
    this.slopes = place(layout.slopes);
    this.tops = place(layout.tops);
    this.totals = place(layout.totals);
    this.fades = place(layout.fades);
  }

  /** c (+)= a · b for a [rows, k], b [k, columns]. */
  multiply(rows: I32, columns: I32, k: I32, a: Operand, b: Operand, c: Operand, isAdded: 0 | 1): void {
    const last = [c.at, c.row, i32.const(isAdded), i32.const(0)];
    this.f.call(this.#gemm, this.#scratch, rows, columns, k, a.at, a.row, a.column, b.at, b.row, b.column, ...last);
  }

  /** Runs `body` for the blocks of keys that queries [i, i + rows) see. */
  eachKeyBlock(i: L, rows: L, run: Run, body: (keys: KeyBlock) => void): void {
    const { f } = this;
    const [first, count, from, to] = f.locals("i32", 4) as [L, L, L, L];
    f.set(from, firstSeen(i, run));
    f.set(to, endOfSeen(i32.sub(i32.add(i, rows), i32.const(1)), run));
    f.for(first, from, to, scoreBlock.keys, () => {
      f.set(count, i32.min(i32.sub(to, first), i32.const(scoreBlock.keys)));
      body({ first, count });
    });
  }

  /** Runs `body` for strips of `rows` queries from i on. */
  eachStrip(i: L, rows: L, run: Run, { first, count }: KeyBlock, body: (strip: Strip) => void): void {
    const { f, w } = this;
    const lanes = 4 * w.width;
    const [start, query, lastQuery, offset] = f.locals("i32", 4) as [L, L, L, L];
    // Some query sees keys [from, to), all of them see [allFrom, allTo).
    const [from, allFrom, allTo, to] = f.locals("i32", 4) as [L, L, L, L];
    f.for(start, i32.const(0), rows, lanes, () => {
      f.set(offset, bytes(start));
      f.set(query, i32.add(i, start));
      f.set(lastQuery, i32.add(query, i32.const(lanes - 1)));
      f.set(to, bounded(i32.sub(endOfSeen(lastQuery, run), first), i32.const(0), count));
      f.set(from, bounded(i32.sub(firstSeen(query, run), first), i32.const(0), to));
      f.set(allFrom, bounded(i32.sub(firstSeen(lastQuery, run), first), from, to));
      f.set(allTo, bounded(i32.sub(endOfSeen(query, run), first), allFrom, to));
      const [low, high] = this.#bounds(query, first, run);
      const [key, end] = [f.local("i32"), f.local("i32")];
      const go = (begin: I32, stop: I32, bases: readonly I32[], body: (addresses: readonly L[]) => void): void => {
        const addresses = bases.map((b) => f.let(i32.add(at(b, begin, i32.const(KEY_BYTES)), offset)));
        f.set(end, stop);
        f.for(key, begin, end, 1, () => {
          body(addresses);
          for (const a of addresses) f.advance(a, KEY_BYTES);
        });
      };
      body({
        offset,
        eachKey: (bases, body) => {
          const runHidden = (begin: I32, stop: I32): void =>
            go(begin, stop, bases, (addresses) => {
              const at = i32x4.splat(key);
              const sees = w.map((k) => v128.and(i32x4.gtS(high[k]!, at), i32x4.leS(low[k]!, at)));
              body(addresses, (values, value) => w.select(sees, values, w.float(value)));
            });
          runHidden(from, allFrom);
          go(allFrom, allTo, bases, (addresses) => body(addresses, (values) => values));
          runHidden(allTo, to);
        },
        zeroRest: (bases) => {
          const zero = ([...addresses]: readonly L[]): void => {
            for (const a of addresses) this.storeStrip(a, w.float(0));
          };
          go(i32.const(0), from, bases, zero);
          go(to, count, bases, zero);
        },
      });
    });
  }

  /** The keys that the queries of a strip see, lane by lane, counted from `first`: [low, high). */
  #bounds(query: L, first: L, { low, high }: Run): readonly [Vectors, Vectors] {
    // Splats that all vectors have in common: of different ones V8 makes no 256-bit vectors.
    const lanes = (edge: L): Vectors => {
      const start = this.f.let(i32x4.splat(i32.sub(i32.add(query, edge), first)));
      return this.w.map((k) => i32x4.add(start, lanesFrom(4 * k)));
    };
    return [lanes(low), lanes(high)];
  }

  loadStrip(address: I32): Vectors {
    return this.w.map((k) => v128.load(address, 16 * k));
  }
  storeStrip(address: I32, values: Vectors): void {
    for (const [k, x] of values.entries()) this.f.do(v128.store(address, x, 16 * k));
  }

  zero(base: I32, count: I32): void {
    mapRow(this.v, count, base, [], (w) => w.float(0));
  }
  /** Sets a row of one float a query. */
  fill(base: I32, value: number): void {
    mapRow(this.v, i32.const(scoreBlock.queries), base, [], (w) => w.float(value));
  }

  /** The float at an address, in every lane. */
  splat(address: I32): Local<"v128"> {
    return this.f.let(i32x4.splat(i32.load(address)));
  }
  store(address: I32, value: V128): void {
    this.f.do(f32.store(address, f32x4.lane(value, 0)));
  }
}

/** The keys of a run that query i sees begin and end here. */
const endOfSeen = (i: I32, { from, to, high }: Run): I32 => bounded(i32.add(i, high), from, to);
const firstSeen = (i: I32, { from, to, low }: Run): I32 => bounded(i32.add(i, low), from, to);

/** A function over the code above, in a module that brings its own matrix product: (scratch, from, to, ...names), all i32. */
export function attentionFunction<const N extends string>(
  m: ModuleBuilder,
  name: string,
  names: readonly N[],
  tile: Tile,
  multiply: Multiply,
  gemm: FunctionBuilder,
  write: (code: AttentionCode, parameters: Readonly<Record<N | "from" | "to", L>>) => void,
): void {
  const all = ["scratch", "from", "to", ...names];
  const types = all.map(() => "i32" as const);
  m.function(name, types, (f, ...locals) => {
    const parameters = Object.fromEntries(all.map((n, i) => [n, locals[i]])) as Record<
      N | "scratch" | "from" | "to",
      L
    >;
    write(new AttentionCode(f, parameters.scratch, tile, multiply, gemm), parameters);
  });
}
