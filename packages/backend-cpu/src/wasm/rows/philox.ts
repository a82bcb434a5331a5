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

/**
 * Sixteen words of the stream for each of some first blocks, in their order: the sets go through the rounds side by side, so that one need not
 * wait for the other's products. Of a counter only the lowest word is not 0: what the first round multiplies by 0 and the second by a key is
 * known before.
 */
function sixteenWords(v: VectorCode, firsts: readonly L[], keys: RoundKeys): readonly Words[] {
  const { f } = v;
  let sets = firsts.map((first): Words => {
    const [h0, l0] = products(v, f.let(i32x4.add(i32x4.splat(first), LANES)), MULTIPLIERS[0]);
    const [h1, l1] = products(v, f.let(v128.xor(h0, keys.of(0)[1])), MULTIPLIERS[1]);
    const [k0, k1] = keys.of(1);
    return [f.let(v128.xor(h1, k0)), l1, f.let(v128.xor(v128.xor(keys.product[0], l0), k1)), keys.product[1]];
  });
  for (let round = 2; round < ROUNDS; round++) {
    const [k0, k1] = keys.of(round);
    sets = sets.map(([c0, c1, c2, c3]): Words => {
      const [h0, l0] = products(v, c0, MULTIPLIERS[0]);
      const [h1, l1] = products(v, c2, MULTIPLIERS[1]);
      return [f.let(v128.xor(v128.xor(h1, c1), k0)), l1, f.let(v128.xor(v128.xor(h0, c3), k1)), l0];
    });
  }
  return sets.map((words) => transpose(v, words));
}

/** A key's words in every lane, as the rounds use them. */
class RoundKeys {
  readonly #first: readonly V128[];
  readonly #second: readonly V128[];
  /** Of the first word with the multiplier: high and low words. */
  readonly product: readonly [high: V128, low: V128];

  /** Declare it before the loop. */
  constructor(v: VectorCode, keys: readonly [L, L]) {
    const { f } = v;
    const lanes = (word: 0 | 1): V128[] =>
      Array.from({ length: ROUNDS }, (_, round) =>
        f.let(i32x4.splat(i32.add(keys[word], i32.const(Math.imul(WEYL[word], round))))),
      );
    [this.#first, this.#second] = [lanes(0), lanes(1)];
    this.product = products(v, this.#first[0]!, MULTIPLIERS[0]);
  }
  of(round: number): readonly [V128, V128] {
    return [this.#first[round]!, this.#second[round]!];
  }
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

/** Sets of sixteen words that are made side by side: one took 1.7 times as long, and four take as long as three. */
const SETS = 3;

/** Sixteen elements at a time: `make` turns words into what is stored, with the element's address in `source`. */
function eachSixteen(
  v: VectorCode,
  { from, to, target, source, keys }: Record<"from" | "to" | "target", L> & { source?: L; keys: RoundKeys },
  make: (words: V128, k: number, source: L | undefined) => V128,
): void {
  const { f } = v;
  const offset = f.let(i32.shl(from, i32.const(2)));
  const out = f.let(i32.add(target, offset));
  const read = source === undefined ? undefined : f.let(i32.add(source, offset));
  const first = f.let(i32.shrU(from, i32.const(2)));
  const left = f.let(i32.sub(to, from));
  const others = f.locals("i32", SETS - 1);
  const advance = (sets: number): void => {
    f.advance(out, 64 * sets);
    if (read !== undefined) f.advance(read, 64 * sets);
    f.advance(first, 4 * sets);
    f.advance(left, -PHILOX_ALIGN * sets);
  };
  const rounds = (sets: number): void =>
    f.while(i32.geS(left, i32.const(PHILOX_ALIGN * sets)), () => {
      others.forEach((other, i) => {
        f.set(other, i32.add(first, i32.const(4 * (i + 1))));
      });
      sixteenWords(v, [first, ...others].slice(0, sets), keys)
        .flat()
        .forEach((words, k) => {
          f.do(v128.store(out, make(words, k, read), 16 * k));
        });
      advance(sets);
    });
  rounds(SETS);
  rounds(1);
  f.if(i32.gtS(left, i32.const(0)), () => {
    const [words] = sixteenWords(v, [first], keys) as [Words];
    words.forEach((word, k) => {
      const x = f.let(make(word, k, read));
      const here = f.let(i32.sub(left, i32.const(4 * k)));
      const place = f.let(i32.add(out, i32.const(16 * k)));
      f.if(
        i32.geS(here, i32.const(4)),
        () => f.do(v128.store(place, x)),
        () => f.if(i32.gtS(here, i32.const(0)), () => storeSome(v, "i32", place, [x], here)),
      );
    });
  });
}

/** The words of a key's stream. Parameters: scratch, from, to, y, the key's two words. */
export function emitRandomBits(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 6 }, () => "i32" as const);
  m.function("randomBits", types, (f, _scratch, from, to, y, key0, key1) => {
    const v = new VectorCode(f, 1, multiply);
    const keys = new RoundKeys(v, [key0, key1]);
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
    const keys = new RoundKeys(v, [key0, key1]);
    const least = f.let(i32x4.splat(threshold));
    const scale = f.let(i32x4.splat(scaleBits));
    eachSixteen(v, { from, to, target: y, source: x, keys }, (words, k, source) => {
      const isKept = i32x4.geS(i32x4.shrU(words, i32.const(8)), least);
      return v128.and(f32x4.mul(v128.load(source!, 16 * k), scale), isKept);
    });
  });
}
