import { f32x4, i32, i32x4, i64x2, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { storeSome } from "../vector/memory.ts";
import { VectorCode } from "../vector/vectors.ts";

type L = Local<"i32">;
type Words = readonly [V128, V128, V128, V128];

// Philox4x32-10 as in tensor's rng.ts, four blocks side by side in the lanes.
// Source: Salmon et al. 2011 (doi:10.1145/2063384.2063405), section 3.3.
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;
const ROUNDS = 10;
const LANES: V128 = i32x4.constants([0, 1, 2, 3]);

/** High and low words of the products of the lanes with a constant. */
function products(v: VectorCode, a: V128, constant: number): readonly [high: V128, low: V128] {
  const [b] = v.int(constant | 0);
  const even = v.f.let(i64x2.extmulLowU(a, b!));
  const odd = v.f.let(i64x2.extmulHighU(a, b!));
  return [v.f.let(v128.lanes32(even, odd, [1, 3, 5, 7])), v.f.let(v128.lanes32(even, odd, [0, 2, 4, 6]))];
}

/** Sixteen words of the stream, from block `first` on, in their order. */
function sixteenWords(v: VectorCode, first: L, keys: readonly [V128, V128]): Words {
  const { f } = v;
  const zero = v.int(0)[0]!;
  let c: Words = [f.let(i32x4.add(i32x4.splat(first), LANES)), zero, zero, zero];
  for (let round = 0; round < ROUNDS; round++) {
    const [h0, l0] = products(v, c[0], MULTIPLIERS[0]);
    const [h1, l1] = products(v, c[2], MULTIPLIERS[1]);
    const [k0, k1] = keys.map((k, i) => i32x4.add(k, v.int(Math.imul(WEYL[i]!, round))[0]!)) as [V128, V128];
    c = [f.let(v128.xor(v128.xor(h1, c[1]), k0)), l1, f.let(v128.xor(v128.xor(h0, c[3]), k1)), l0];
  }
  return transpose(v, c);
}

/** From word k of four blocks in the lanes of vector k to whole blocks. */
function transpose({ f }: VectorCode, [a, b, c, d]: Words): Words {
  const [ab, AB] = [f.let(v128.lanes32(a, b, [0, 4, 1, 5])), f.let(v128.lanes32(a, b, [2, 6, 3, 7]))];
  const [cd, CD] = [f.let(v128.lanes32(c, d, [0, 4, 1, 5])), f.let(v128.lanes32(c, d, [2, 6, 3, 7]))];
  return [
    f.let(v128.lanes32(ab, cd, [0, 1, 4, 5])),
    f.let(v128.lanes32(ab, cd, [2, 3, 6, 7])),
    f.let(v128.lanes32(AB, CD, [0, 1, 4, 5])),
    f.let(v128.lanes32(AB, CD, [2, 3, 6, 7])),
  ];
}

/** Elements that parts begin at multiples of: whole sets of blocks. */
export const PHILOX_ALIGN = 16;

/** Sixteen elements at a time: `make` turns words into what is stored, with the element's address in `source`. */
function eachSixteen(
  v: VectorCode,
  { from, to, target, source, keys }: Record<"from" | "to" | "target", L> & { source?: L; keys: readonly [V128, V128] },
  make: (words: V128, k: number, source: L | undefined) => V128,
): void {
  const { f } = v;
  const offset = f.let(i32.shl(from, i32.const(2)));
  const out = f.let(i32.add(target, offset));
  const read = source === undefined ? undefined : f.let(i32.add(source, offset));
  const [at, left] = f.locals("i32", 2) as [L, L];
  const first = f.local("i32");
  f.for(at, from, to, PHILOX_ALIGN, () => {
    f.set(first, i32.shrU(at, i32.const(2)));
    const words = sixteenWords(v, first, keys);
    f.set(left, i32.sub(to, at));
    const vectors = words.map((w, k) => f.let(make(w, k, read)));
    f.if(
      i32.geS(left, i32.const(PHILOX_ALIGN)),
      () => {
        vectors.forEach((x, k) => {
          f.do(v128.store(out, x, 16 * k));
        });
      },
      () => {
        vectors.forEach((x, k) => {
          const here = f.let(i32.sub(left, i32.const(4 * k)));
          const place = f.let(i32.add(out, i32.const(16 * k)));
          f.if(
            i32.geS(here, i32.const(4)),
            () => f.do(v128.store(place, x)),
            () => f.if(i32.gtS(here, i32.const(0)), () => storeSome(v, "i32", place, [x], here)),
          );
        });
      },
    );
    f.advance(out, 64);
    if (read !== undefined) f.advance(read, 64);
  });
}

/** The words of a key's stream. Parameters: scratch, from, to, y, the key's two words. */
export function emitRandomBits(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 6 }, () => "i32" as const);
  m.function("randomBits", types, (f, _scratch, from, to, y, key0, key1) => {
    const v = new VectorCode(f, 1, multiply);
    const keys = [f.let(i32x4.splat(key0)), f.let(i32x4.splat(key1))] as const;
    eachSixteen(v, { from, to, target: y, keys }, (words) => words);
  });
}

/**
 * x · scale where the word's upper 24 bits reach the threshold, else 0; the mask is never a tensor. Parameters: scratch,
 * from, to, x, y, the key's two words, threshold, the bits of scale.
 */
export function emitDropout(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 9 }, () => "i32" as const);
  m.function("dropout", types, (f, _scratch, from, to, x, y, key0, key1, threshold, scaleBits) => {
    const v = new VectorCode(f, 1, multiply);
    const keys = [f.let(i32x4.splat(key0)), f.let(i32x4.splat(key1))] as const;
    const least = f.let(i32x4.splat(threshold));
    const scale = f.let(i32x4.splat(scaleBits));
    eachSixteen(v, { from, to, target: y, source: x, keys }, (words, k, source) => {
      const isKept = i32x4.geS(i32x4.shrU(words, i32.const(8)), least);
      return v128.and(f32x4.mul(v128.load(source!, 16 * k), scale), isKept);
    });
  });
}
