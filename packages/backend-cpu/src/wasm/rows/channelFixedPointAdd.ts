import { dtypes, type NarrowDType } from "@revnet-zero/tensor";
import { f32x4, type I32, i32, i32x4, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import { roundedMultiply } from "../multiply.ts";
import { bytesOf, loadVectors, storeSome, storeVectors } from "../vector/memory.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { kernelFunction, splatAt } from "./rowFunction.ts";

type L = Local<"i32">;

export interface ChannelStepVariant {
  readonly dtype: NarrowDType;
  /** One scale for every element of a row, or one for each. */
  readonly hasChannels: boolean;
}

/** x ± round(f · scale) on rows [from, to) of `size` elements, and how many increments saturated, sums wrapped, increments were NaN. */
export function emitChannelFixedPointAdd(m: ModuleBuilder, name: string, variant: ChannelStepVariant): void {
  const parameters = ["x", "f32s", "scales", "y", "counts", "size", "sign"] as const;
  kernelFunction(m, name, parameters, (f, { from, to, x, f32s, scales, y, counts, size, sign }) => {
    const v = new VectorCode(f, 4, roundedMultiply);
    const step = new ChannelStep(v, variant, sign);
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const first = f.let(i32.mul(row, size));
      const narrow = (base: L): I32 => i32.add(base, i32.mul(first, i32.const(bytesOf(variant.dtype))));
      step.run(size, narrow(x), i32.add(f32s, i32.shl(first, i32.const(2))), scales, narrow(y));
    });
    step.writeCounts(counts);
  });
}

class ChannelStep {
  readonly #v: VectorCode;
  readonly #variant: ChannelStepVariant;
  /** All ones to subtract. */
  readonly #signs: Local<"v128">;
  readonly #totals: readonly [Local<"v128">, Local<"v128">, Local<"v128">];

  constructor(v: VectorCode, variant: ChannelStepVariant, sign: L) {
    const { f } = v;
    this.#v = v;
    this.#variant = variant;
    this.#signs = f.let(i32x4.splat(i32.shrS(sign, i32.const(31))));
    this.#totals = [f.local("v128"), f.local("v128"), f.local("v128")];
    for (const total of this.#totals) f.set(total, i32x4.const(0));
  }

  run(size: L, stream: I32, f32s: I32, scales: L, sums: I32): void {
    const v = this.#v;
    const { f } = v;
    const { dtype, hasChannels } = this.#variant;
    const narrow = bytesOf(dtype);
    const single = v.ofWidth(1);
    const [x, increment, y, scale, left] = [stream, f32s, sums, scales, size].map((a) => f.let(a)) as [L, L, L, L, L];
    const same = hasChannels ? undefined : splatAt(v, scales);
    const scalesOf = (w: VectorCode): Vectors =>
      same === undefined ? loadVectors(w, "f32", scale) : new Array<V128>(w.width).fill(same);
    const several = (w: VectorCode): void => {
      const elements = 4 * w.width;
      f.while(i32.geS(left, i32.const(elements)), () => {
        storeVectors(
          w,
          dtype,
          y,
          this.#step(w, loadVectors(w, dtype, x), loadVectors(w, "f32", increment), scalesOf(w)),
        );
        for (const [address, bytes] of [
          [x, narrow],
          [y, narrow],
          [increment, 4],
          [scale, 4],
        ] as const)
          f.advance(address, bytes * elements);
        f.advance(left, -elements);
      });
    };
    several(v);
    several(single);
    f.if(i32.gtS(left, i32.const(0)), () => {
      // Lanes past the end add nothing and count nothing.
      const mask = f.let(i32x4.gtS(i32x4.splat(left), i32x4.constants([0, 1, 2, 3])));
      const inside = (values: Vectors): Vectors => single.map((i) => v128.and(values[i]!, mask));
      const [a, b] = [inside(loadVectors(single, dtype, x)), inside(loadVectors(single, "f32", increment))];
      storeSome(single, dtype, y, this.#step(single, a, b, inside(scalesOf(single))), left);
    });
  }

  /** Adds what was counted to three words. */
  writeCounts(counts: L): void {
    this.#totals.forEach((total, k) => {
      const sum = [0, 1, 2, 3].map((lane) => i32x4.lane(total, lane)).reduce((a, b) => i32.add(a, b));
      this.#v.f.do(i32.atomicAdd(i32.add(counts, i32.const(4 * k)), sum));
    });
  }

  #step(w: VectorCode, a: Vectors, values: Vectors, scales: Vectors): Vectors {
    const { f } = w;
    const [low, high] = dtypes[this.#variant.dtype].range!;
    const scaled = w.map((i) => f32x4.mul(values[i]!, scales[i]!));
    const wide = w.unary(i32x4.truncSat, w.unary(f32x4.nearest, scaled));
    const q = w.binary(i32x4.minS, w.binary(i32x4.maxS, wide, w.int(low)), w.int(high));
    // -q is ~q + 1: the sign's mask flips the bits and, subtracted, adds the one.
    const sum = w.map((i) => i32x4.add(a[i]!, i32x4.sub(v128.xor(q[i]!, this.#signs), this.#signs)));
    const isInside = w.binary(v128.and, w.binary(i32x4.geS, sum, w.int(low)), w.binary(i32x4.leS, sum, w.int(high)));
    const isClipped = w.binary(i32x4.ne, wide, q);
    const isNan = w.binary(f32x4.ne, scaled, scaled);
    for (let i = 0; i < w.width; i++) {
      // A mask is -1.
      f.set(this.#totals[0], i32x4.sub(this.#totals[0], isClipped[i]!));
      f.set(this.#totals[1], i32x4.sub(this.#totals[1], v128.not(isInside[i]!)));
      f.set(this.#totals[2], i32x4.sub(this.#totals[2], isNan[i]!));
    }
    return sum;
  }
}
