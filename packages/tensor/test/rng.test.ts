import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { errorText } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  Engine,
  fillRandomBits,
  foldKey,
  type Key,
  ones,
  philox4x32,
  randomKey,
  randomWord,
  randomWords,
} from "../src/index.ts";

const word = fc.nat({ max: 0xffffffff });
const hex = (ws: readonly number[]): string => ws.map((w) => w.toString(16).padStart(8, "0")).join(" ");

describe("Philox4x32-10", () => {
  // Random123 1.14, tests/kat_vectors, the three lines "philox4x32 10".
  test.each([
    ["00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    ["ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    ["243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ])("counter %s, key %s gives %s", (counter, key, expected) => {
    const parse = (s: string): number[] => s.split(" ").map((h) => Number.parseInt(h, 16));
    expect(hex(philox4x32(parse(counter) as never, parse(key) as never))).toBe(expected);
  });

  test("agrees with the definition in whole numbers of any size", () => {
    const defined = (counter: readonly number[], key: readonly number[]): number[] => {
      let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
      let [k0, k1] = key.map(BigInt) as [bigint, bigint];
      const low = 0xffffffffn;
      for (let round = 0; round < 10; round++) {
        const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
        [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & low, (p0 >> 32n) ^ c3 ^ k1, p0 & low];
        [k0, k1] = [(k0 + 0x9e3779b9n) & low, (k1 + 0xbb67ae85n) & low];
      }
      return [c0, c1, c2, c3].map(Number);
    };
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        expect(hex(philox4x32(counter, key))).toBe(hex(defined(counter, key)));
      }),
    );
  });
});

test("the stream of a key is the same read word by word, in one piece, or in parts", () => {
  fc.assert(
    fc.property(fc.tuple(word, word), fc.nat({ max: 40 }), (key, length) => {
      const all = new Int32Array(length);
      fillRandomBits(all, key);
      expect([...all]).toEqual(Array.from({ length }, (_, i) => randomWord(key, i) | 0));
    }),
  );
});

test("words beyond 2^34 are reachable: the block number has 53 bits", () => {
  const index = 4 * 2 ** 33 + 2;
  expect(randomWord([1, 2], index)).toBe(philox4x32([0, 2, 0, 0], [1, 2])[2]);
});

describe("keys", () => {
  test("a seed of up to 53 bits is kept whole", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (seed) => {
        const [low, high] = randomKey(seed);
        expect(high * 2 ** 32 + low).toBe(seed);
      }),
    );
  });

  test("a seed that is no integer of 53 bits is refused, not rounded to another run's", () => {
    expect(randomKey(-1)).not.toEqual(randomKey(1));
    for (const seed of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      expect(() => randomKey(seed)).toThrow(`the seed is ${seed}`);
    expect(errorText(() => randomKey(0.5))).toMatchInlineSnapshot(`
      "ValueError: randomKey: the seed is 0.5
        hint: use an integer of up to 53 bits"
    `);
  });

  test("folding is a function of key and data, and different data give different keys", () => {
    const key: Key = [7, 11];
    const made = Array.from({ length: 2000 }, (_, i) => hex(foldKey(key, i)));
    expect(new Set(made).size).toBe(2000);
    expect(hex(foldKey(key, 5))).toBe(made[5]);
    expect(foldKey(key, 2 ** 40)).not.toEqual(foldKey(key, 0));
  });

  test("that are not two unsigned words, and fractions folded in, are refused, not cut to another stream's", () => {
    const engine = new Engine(new ReferenceBackend());
    const wrong = [[1.5, 2], [1, 0.5], [-1, 2], [1, 2 ** 32], [Number.NaN, 0], [1], [1, 2, 3], 7, "12", undefined];
    for (const key of wrong as unknown as Key[]) {
      const said = /: the generator key is .*\n {2}hint: make keys with randomKey\(seed\)/;
      expect(() => foldKey(key, 1)).toThrow(said);
      expect(() => engine.withKey(key, () => 0)).toThrow(said);
      expect(() => randomWords([2], { key, engine })).toThrow(said);
      expect(() => engine.scope(() => ones([2], { engine }).dropout(0.5, key))).toThrow(said);
    }
    expect(errorText(() => foldKey([1.5, 2], 0))).toMatchInlineSnapshot(`
      "ValueError: foldKey: the generator key is [1.5, 2]
        hint: make keys with randomKey(seed) and foldKey(key, n), or from two whole numbers below 2^32"
    `);
    for (const data of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      expect(() => foldKey([1, 2], data)).toThrow(`foldKey: the number folded in is ${data}`);
    expect(foldKey([1, 2], -1)).not.toEqual(foldKey([1, 2], 1));
  });

  test("order of folding matters: (step, layer) is not (layer, step)", () => {
    const key = randomKey(3);
    expect(foldKey(foldKey(key, 1), 2)).not.toEqual(foldKey(foldKey(key, 2), 1));
  });
});
