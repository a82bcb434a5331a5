import { f32x4, type I32, i32, i32x4, type Local, type V128, v128 } from "../assembler/index.ts";
import { loadVectors, storeSome, storeVectors } from "../vector/memory.ts";
import type { VectorCode, Vectors } from "../vector/vectors.ts";

/** The lanes of a row's last vector that are inside it. */
export interface Part {
  readonly mask: V128;
  /** 1 to 3. */
  readonly count: I32;
}

type Address = Local<"i32">;
const laneNumbers: V128 = i32x4.constants([0, 1, 2, 3]);

/**
 * Goes over the float32 elements of rows of one size: several vectors at a time, then one at a time, then the lanes
 * that are left. `addresses` move along together.
 */
export function eachVector(
  v: VectorCode,
  size: I32,
  starts: readonly I32[],
  body: (w: VectorCode, addresses: readonly Address[], part?: Part) => void,
): void {
  const { f } = v;
  const left = f.let(size);
  const addresses = starts.map((s) => f.let(s));
  const rounds = (w: VectorCode): void =>
    f.while(i32.geS(left, i32.const(4 * w.width)), () => {
      body(w, addresses);
      for (const a of addresses) f.advance(a, 16 * w.width);
      f.advance(left, -4 * w.width);
    });
  rounds(v);
  const single = v.ofWidth(1);
  if (v.width > 1) rounds(single);
  f.if(i32.gtS(left, i32.const(0)), () => {
    const mask = f.let(i32x4.gtS(i32x4.splat(left), laneNumbers));
    body(single, addresses, { mask, count: left });
  });
}

export const loadRow = (w: VectorCode, at: Address): Vectors => loadVectors(w, "f32", at);

export function storeRow(w: VectorCode, at: Address, values: Vectors, part?: Part): void {
  if (part === undefined) storeVectors(w, "f32", at, values);
  else storeSome(w, "f32", at, values, part.count);
}

/** Maps rows to a row: `target` is written with `f` of what lies at `sources`. */
export function mapRow(
  v: VectorCode,
  size: I32,
  target: I32,
  sources: readonly I32[],
  map: (w: VectorCode, values: readonly Vectors[]) => Vectors,
): void {
  eachVector(v, size, [target, ...sources], (w, [to, ...from], part) =>
    storeRow(
      w,
      to!,
      map(
        w,
        from.map((a) => loadRow(w, a)),
      ),
      part,
    ),
  );
}

export interface Reduction {
  readonly identity: number;
  readonly combine: (a: V128, b: V128) => V128;
}

const sums: Reduction = { identity: 0, combine: f32x4.add };
/** NaN is passed over: whoever sums afterwards meets it again. */
const maxima: Reduction = { identity: Number.NEGATIVE_INFINITY, combine: f32x4.pmax };

/** Running totals of a row, lane by lane: one set of lanes for each vector of the main loop, one for what it leaves. */
export class RowTotal {
  readonly #v: VectorCode;
  readonly #reduction: Reduction;
  readonly #lanes: readonly Local<"v128">[];
  readonly #last: Local<"v128">;

  /** From the identity. Declare it before the loop. */
  constructor(v: VectorCode, reduction: Reduction) {
    this.#v = v;
    this.#reduction = reduction;
    this.#lanes = v.f.locals("v128", v.width);
    this.#last = v.f.local("v128");
    for (const lane of [...this.#lanes, this.#last]) v.f.set(lane, f32x4.const(reduction.identity));
  }
  static sum(v: VectorCode): RowTotal {
    return new RowTotal(v, sums);
  }
  static maximum(v: VectorCode): RowTotal {
    return new RowTotal(v, maxima);
  }

  take(w: VectorCode, values: Vectors, part?: Part): void {
    const { f } = w;
    const { combine, identity } = this.#reduction;
    const counted =
      part === undefined ? values : w.map((i) => v128.bitSelect(values[i]!, w.float(identity)[0]!, part.mask));
    const lanes = w.width === this.#v.width ? this.#lanes : [this.#last];
    for (const [i, x] of counted.entries()) f.set(lanes[i]!, combine(lanes[i]!, x));
  }

  /**
   * The total in every lane: pairs of vectors, the last one, halves, neighbours. The order depends on the size alone. By way of memory: V8
   * looks for 256-bit vectors backwards from stores, and follows a total made in registers into the lanes it comes from.
   */
  value(): Local<"v128"> {
    const { f, spill } = this.#v;
    if (spill === undefined) throw new Error("totals of a row need a place to spill to");
    const { combine } = this.#reduction;
    for (const [i, lane] of this.#lanes.entries()) f.do(v128.store(spill, lane, 16 * i));
    let rest: readonly V128[] = this.#lanes.map((_, i) => f.let(v128.load(spill, 16 * i)));
    while (rest.length > 1) {
      const half = rest.length / 2;
      rest = Array.from({ length: half }, (_, i) => combine(rest[2 * i]!, rest[2 * i + 1]!));
    }
    const folded = f.let(combine(rest[0]!, this.#last));
    f.set(folded, combine(folded, v128.lanes32(folded, folded, [2, 3, 0, 1])));
    f.set(folded, combine(folded, v128.lanes32(folded, folded, [1, 0, 3, 2])));
    f.do(v128.store(spill, folded, TOTAL));
    return lastTotal(this.#v);
  }
}

/** Where a row's total is spilled: behind its lanes. */
const TOTAL = 240;

/** The total that was taken last, in every lane. */
export const lastTotal = ({ f, spill }: VectorCode): Local<"v128"> => f.let(v128.load32Splat(spill!, TOTAL));

/** The sum of a term over rows, in every lane. */
export function sumRow(
  v: VectorCode,
  size: I32,
  sources: readonly I32[],
  term: (w: VectorCode, values: readonly Vectors[]) => Vectors,
): Local<"v128"> {
  return reduceRow(RowTotal.sum(v), v, size, sources, term);
}

/** The largest value of a term over rows, in every lane; NaN is passed over. */
export function maximumRow(
  v: VectorCode,
  size: I32,
  sources: readonly I32[],
  term: (w: VectorCode, values: readonly Vectors[]) => Vectors,
): Local<"v128"> {
  return reduceRow(RowTotal.maximum(v), v, size, sources, term);
}

function reduceRow(
  total: RowTotal,
  v: VectorCode,
  size: I32,
  sources: readonly I32[],
  term: (w: VectorCode, values: readonly Vectors[]) => Vectors,
): Local<"v128"> {
  eachVector(v, size, sources, (w, addresses, part) =>
    total.take(
      w,
      term(
        w,
        addresses.map((a) => loadRow(w, a)),
      ),
      part,
    ),
  );
  return total.value();
}

/** One value beside every vector. */
export const beside = (w: VectorCode, value: V128): Vectors => new Array<V128>(w.width).fill(value);
