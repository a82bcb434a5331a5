import { f32x4, type I32, i32, i32x4, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import { roundedMultiply } from "../multiply.ts";
import { storeSome, storeVectors } from "../vector/memory.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { beside, eachVector, loadRow, type Part, RowTotal, storeRow } from "./row.ts";
import { kernelFunction, wordAt } from "./rowFunction.ts";

type L = Local<"i32">;

/** Floats around this number lie one apart: added to it, a value below 2^22 is rounded to an integer, to even where two are as near. */
const UNITS = 1.5 * 2 ** 23;
const UNITS_BITS = 0x4b400000;
const SMALL = 2 ** 22;
const SMALL_BITS = 0x4a800000;

/** x ± quantise(f) modulo 2^32 on runs of elements, and how many increments saturated, sums wrapped, increments were NaN. */
export class FixedPointAdder {
  readonly #v: VectorCode;
  readonly #scale: Local<"v128">;
  /** Negative to subtract: a rounded -r is -(rounded r). */
  readonly #signedScale: Local<"v128">;
  /** All ones to subtract. */
  readonly #signs: Local<"v128">;
  readonly #totals: readonly [Local<"v128">, Local<"v128">, Local<"v128">];

  /** Declare it before the loop over runs. */
  constructor(v: VectorCode, fractionBits: L, sign: L) {
    const { f } = v;
    this.#v = v;
    // 2^bits as a float: its exponent is all there is.
    const bits = f.let(i32.shl(i32.add(fractionBits, i32.const(127)), i32.const(23)));
    this.#scale = f.let(i32x4.splat(bits));
    this.#signedScale = f.let(i32x4.splat(i32.or(bits, i32.and(sign, i32.const(0x80000000 | 0)))));
    this.#signs = f.let(i32x4.splat(i32.shrS(sign, i32.const(31))));
    this.#totals = [f.local("v128"), f.local("v128"), f.local("v128")];
    for (const total of this.#totals) f.set(total, i32x4.const(0));
  }

  /** Code for `size` elements; the three addresses may be those of a row. */
  run(size: I32, stream: I32, f32s: I32, sums: I32): void {
    const v = this.#v;
    const { f } = v;
    const single = v.ofWidth(1);
    const [x, increment, y] = [f.let(stream), f.let(f32s), f.let(sums)] as const;
    const left = f.let(size);
    f.while(i32.geS(left, i32.const(16)), () => {
      const [a, values] = [loadRow(v, x), loadRow(v, increment)];
      const { scaled, addend } = this.#small(v, values);
      const sum = v.binary(i32x4.add, a, addend);
      // Sign bits: increments that are small and sums that did not wrap. Where that is all of them, nothing is to be counted.
      const fits = v.binary(f32x4.lt, v.unary(f32x4.abs, scaled), v.float(SMALL));
      const wraps = v.map((i) => v128.and(v128.xor(a[i]!, sum[i]!), v128.xor(addend[i]!, sum[i]!)));
      const fine = v.binary(v128.andNot, fits, wraps);
      f.if(
        i32.eq(i32x4.bitmask(fine.reduce((p, q) => v128.and(p, q))), i32.const(15)),
        () => storeVectors(v, "i32", y, sum),
        () => storeVectors(v, "i32", y, this.#step(v, a, values)),
      );
      for (const address of [x, increment, y]) f.advance(address, 64);
      f.advance(left, -16);
    });
    f.while(i32.geS(left, i32.const(4)), () => {
      storeVectors(single, "i32", y, this.#step(single, loadRow(single, x), loadRow(single, increment)));
      for (const address of [x, increment, y]) f.advance(address, 16);
      f.advance(left, -4);
    });
    f.if(i32.gtS(left, i32.const(0)), () => {
      // Lanes past the end add nothing and count nothing.
      const mask = f.let(i32x4.gtS(i32x4.splat(left), laneNumbers));
      const inside = (values: Vectors): Vectors => single.map((i) => v128.and(values[i]!, mask));
      const sum = this.#step(single, inside(loadRow(single, x)), inside(loadRow(single, increment)));
      storeSome(single, "i32", y, sum, left);
    });
  }

  /**
   * Whether no increment of a run is above 2^22 units and no element of the stream near the ends of its range, so that nothing saturates,
   * wraps or is NaN. Bits and signs alone: V8 joins all of it.
   */
  isSmall(size: I32, stream: I32, f32s: I32): I32 {
    const v = this.#v;
    const large = new RowTotal(v, { identity: 0, combine: v128.or });
    eachVector(v, size, [stream, f32s], (w, [x, increment], part) => {
      const [a, values] = [loadRow(w, x!), loadRow(w, increment!)];
      const magnitude = w.binary(v128.and, w.binary(f32x4.mul, values, beside(w, this.#scale)), w.int(0x7fffffff));
      const isLarge = w.binary(i32x4.gtS, magnitude, w.int(SMALL_BITS - 1));
      // The two highest bits of a number below 2^30 are the same.
      const isNearEnd = w.binary(v128.xor, a, w.shift(i32x4.shl, a, 1));
      large.take(w, w.binary(v128.or, isLarge, isNearEnd), part);
    });
    return i32.geS(i32x4.lane(large.value(), 0), i32.const(0));
  }

  /** The step on runs of which `isSmall` holds; `also` is given the sums and an address that moves along from `at`. */
  runSmall(
    size: I32,
    [stream, f32s, sums, at]: readonly [I32, I32, I32, I32],
    also: (w: VectorCode, sums: Vectors, at: L, part?: Part) => void,
  ): void {
    eachVector(this.#v, size, [stream, f32s, sums, at], (w, [x, increment, y, place], part) => {
      const [a, values] = [loadRow(w, x!), loadRow(w, increment!)];
      const sum = w.binary(i32x4.add, a, this.#small(w, values).addend);
      storeRow(w, y!, sum, part);
      also(w, sum, place!, part);
    });
  }

  /** Increments below 2^22 units, with their sign, and rounded. */
  #small(w: VectorCode, values: Vectors): { readonly scaled: Vectors; readonly addend: Vectors } {
    const scaled = w.mul(values, beside(w, this.#signedScale));
    const addend = w.binary(i32x4.sub, w.add(scaled, w.float(UNITS)), w.int(UNITS_BITS));
    return { scaled, addend };
  }

  /** Adds what was counted to three words. */
  writeCounts(counts: L): void {
    this.#totals.forEach((total, k) => {
      const lanes = [0, 1, 2, 3].map((lane) => i32x4.lane(total, lane));
      const sum = lanes.reduce((a, b) => i32.add(a, b));
      this.#v.f.do(i32.atomicAdd(i32.add(counts, i32.const(4 * k)), sum));
    });
  }

  #step(w: VectorCode, a: Vectors, values: Vectors): Vectors {
    const { f } = w;
    const [signs, totals] = [this.#signs, this.#totals];
    const scaled = w.map((i) => f32x4.mul(values[i]!, this.#scale));
    const q = w.unary(i32x4.truncSat, w.unary(f32x4.nearest, scaled));
    // -q is ~q + 1: the sign's mask flips the bits and, subtracted, adds the one.
    const addend = w.map((i) => i32x4.sub(v128.xor(q[i]!, signs), signs));
    const sum = w.binary(i32x4.add, a, addend);
    // Two's complement: -q of the smallest integer is itself, so the signs compared are those of q, not of the addend.
    const direction = w.map((i) => v128.xor(q[i]!, signs));
    const wrapped = w.map((i) =>
      i32x4.shrU(v128.and(v128.xor(a[i]!, sum[i]!), v128.xor(direction[i]!, sum[i]!)), i32.const(31)),
    );
    const over = w.binary(f32x4.ge, scaled, w.float(2 ** 31));
    const under = w.binary(f32x4.lt, scaled, w.float(-(2 ** 31)));
    const nan = w.binary(f32x4.ne, scaled, scaled);
    for (let i = 0; i < w.width; i++) {
      f.set(totals[0], i32x4.sub(totals[0], v128.or(over[i]!, under[i]!)));
      f.set(totals[1], i32x4.add(totals[1], wrapped[i]!));
      f.set(totals[2], i32x4.sub(totals[2], nan[i]!));
    }
    return sum;
  }
}

/** The step on elements [from, to). */
export function emitFixedPointAdd(m: ModuleBuilder): void {
  const parameters = ["x", "f32s", "y", "counts", "fractionBits", "sign"] as const;
  kernelFunction(m, "fixedPointAdd", parameters, (f, { from, to, x, f32s, y, counts, fractionBits, sign }) => {
    const adder = new FixedPointAdder(new VectorCode(f, 4, roundedMultiply), fractionBits, sign);
    const [first, second, third] = [x, f32s, y].map((base) => wordAt(base, from)) as [I32, I32, I32];
    adder.run(i32.sub(to, from), first, second, third);
    adder.writeCounts(counts);
  });
}

const laneNumbers: V128 = i32x4.constants([0, 1, 2, 3]);
