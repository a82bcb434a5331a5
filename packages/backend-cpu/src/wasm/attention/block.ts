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
} from "../assembler/index.ts";
import { emitGemm } from "../gemm/gemm.ts";
import { gemmScratchBytes, type Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { mapRow } from "../rows/row.ts";
import { VectorCode } from "../vector/vectors.ts";
import { layout, SCORE_ROW_BYTES, scoreBlock } from "./sizes.ts";

export type L = Local<"i32">;

/** A matrix of floats in memory, steps in bytes. */
export interface Operand {
  readonly at: I32;
  readonly row: I32;
  readonly column: I32;
}

/** Which keys a query sees: i sees [i + reach - window, i + reach) of s keys. */
export interface Mask {
  readonly s: L;
  readonly reach: L;
  readonly window: L;
}

export const bytes = (count: I32): I32 => i32.shl(count, i32.const(2));
export const at = (base: I32, index: I32, step: I32): I32 => i32.add(base, i32.mul(index, step));
export const bounded = (x: I32, low: I32, high: I32): I32 => i32.max(low, i32.min(x, high));

/** Row-major `[rows, columns]`, or its transpose. */
export const matrix = (base: I32, columns: I32): Operand => ({ at: base, row: bytes(columns), column: i32.const(4) });
export const transposed = ({ at, row, column }: Operand): Operand => ({ at, row: column, column: row });
export const scoresOf = (base: I32): Operand => ({
  at: base,
  row: i32.const(SCORE_ROW_BYTES),
  column: i32.const(4),
});

/** The code that forward and backward have in common, in one function. */
export class AttentionCode {
  readonly f: FunctionBuilder;
  readonly v: VectorCode;
  readonly scores: L;
  readonly slopes: L;
  readonly tops: L;
  readonly totals: L;
  readonly #gemm: FunctionBuilder;
  readonly #scratch: L;

  constructor(f: FunctionBuilder, scratch: L, tile: Tile, multiply: Multiply, gemm: FunctionBuilder) {
    this.f = f;
    this.v = new VectorCode(f, 4, multiply);
    this.#gemm = gemm;
    this.#scratch = scratch;
    const own = gemmScratchBytes(tile);
    const place = (offset: number): L => f.let(i32.add(scratch, i32.const(own + offset)));
    this.scores = place(layout.scores);
    this.slopes = place(layout.slopes);
    this.tops = place(layout.tops);
    this.totals = place(layout.totals);
  }

  /** c (+)= a · b for a [rows, k], b [k, columns]. */
  multiply(rows: I32, columns: I32, k: I32, a: Operand, b: Operand, c: Operand, isAdded: 0 | 1): void {
    const last = [c.at, c.row, i32.const(isAdded), i32.const(0)];
    this.f.call(this.#gemm, this.#scratch, rows, columns, k, a.at, a.row, a.column, b.at, b.row, b.column, ...last);
  }

  /** The keys that query i sees: [from, to). */
  visible(i: I32, { s, reach, window }: Mask, from: L, to: L): void {
    this.f.set(to, bounded(i32.add(i, reach), i32.const(0), s));
    this.f.set(from, i32.max(i32.const(0), i32.sub(to, window)));
  }

  /** Runs `body` for blocks of keys between `from` and `to`: the first key and how many. */
  eachKeyBlock(from: L, to: L, body: (first: L, count: L) => void): void {
    const { f } = this;
    const [first, count] = f.locals("i32", 2) as [L, L];
    f.for(first, from, to, scoreBlock.columns, () => {
      f.set(count, i32.min(i32.sub(to, first), i32.const(scoreBlock.columns)));
      body(first, count);
    });
  }

  zero(base: I32, count: I32): void {
    mapRow(this.v, count, base, [], (w) => w.float(0));
  }

  /** The float at an address, in every lane. */
  splat(address: I32): Local<"v128"> {
    return this.f.let(i32x4.splat(i32.load(address)));
  }
  store(address: I32, value: V128): void {
    this.f.do(f32.store(address, f32x4.lane(value, 0)));
  }
}

/** A function over the code above, in a module that brings its own matrix product. */
export function attentionFunction(
  m: ModuleBuilder,
  name: string,
  parameters: number,
  tile: Tile,
  multiply: Multiply,
  write: (code: AttentionCode, parameters: readonly L[]) => void,
): void {
  const { gemm } = emitGemm(m, tile, multiply);
  const types = Array.from({ length: parameters }, () => "i32" as const);
  m.function(name, types, (f, scratch, ...rest) => {
    write(new AttentionCode(f, scratch as L, tile, multiply, gemm), rest as readonly L[]);
  });
}
