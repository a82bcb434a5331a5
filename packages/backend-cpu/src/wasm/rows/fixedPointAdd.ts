import { f32x4, type I32, i32, i32x4, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import { roundedMultiply } from "../multiply.ts";
import { storeSome, storeVectors } from "../vector/memory.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { kernelFunction, wordAt } from "./rowFunction.ts";

type L = Local<"i32">;

/** x ± quantise(f) modulo 2^32 on runs of elements, and how many increments saturated, sums wrapped, increments were NaN. */
export class FixedPointAdder {
  readonly #v: VectorCode;
  readonly #scale: Local<"v128">;
  /** All ones to subtract. */
  readonly #signs: Local<"v128">;
  readonly #totals: readonly [Local<"v128">, Local<"v128">, Local<"v128">];

  /** Declare it before the loop over runs. */
  constructor(v: VectorCode, fractionBits: L, sign: L) {
    const { f } = v;
    this.#v = v;
    // 2^bits as a float: its exponent is all there is.
    this.#scale = f.let(i32x4.splat(i32.shl(i32.add(fractionBits, i32.const(127)), i32.const(23))));
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
    const load = (w: VectorCode, address: L): Vectors => w.map((i) => v128.load(address, 16 * i));
    const [scale, signs] = [this.#scale, this.#signs];
    f.while(i32.geS(left, i32.const(16)), () => {
      const [a, values] = [load(v, x), load(v, increment)];
      const scaled = v.map((i) => f32x4.mul(values[i]!, scale));
      const flipped = v.map((i) => v128.xor(i32x4.truncSat(f32x4.nearest(scaled[i]!)), signs));
      const sum = v.map((i) => i32x4.add(a[i]!, i32x4.sub(flipped[i]!, signs)));
      // Sign bits: increments that fit and sums that did not wrap. Where that is all of them, nothing is to be counted.
      const fits = v.binary(f32x4.lt, v.unary(f32x4.abs, scaled), v.float(2 ** 31));
      const wraps = v.map((i) => v128.and(v128.xor(a[i]!, sum[i]!), v128.xor(flipped[i]!, sum[i]!)));
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
      storeVectors(single, "i32", y, this.#step(single, load(single, x), load(single, increment)));
      for (const address of [x, increment, y]) f.advance(address, 16);
      f.advance(left, -4);
    });
    f.if(i32.gtS(left, i32.const(0)), () => {
      // Lanes past the end add nothing and count nothing.
      const mask = f.let(i32x4.gtS(i32x4.splat(left), laneNumbers));
      const inside = (values: Vectors): Vectors => single.map((i) => v128.and(values[i]!, mask));
      const sum = this.#step(single, inside(load(single, x)), inside(load(single, increment)));
      storeSome(single, "i32", y, sum, left);
    });
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
