import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeBytes } from "../src/byteTokens.ts";
import { DataError } from "../src/dataError.ts";
import { bigramCrossEntropy, bigramEntropy, natsToBits, unigramCrossEntropy, unigramEntropy } from "../src/entropy.ts";

const bytes = (minLength: number) =>
  fc.oneof(
    fc.uint8Array({ minLength, maxLength: 400 }),
    fc.array(fc.constantFrom(97, 98, 99), { minLength, maxLength: 400 }).map((values) => Uint8Array.from(values)),
  );

/** The definition, with maps and conditional probabilities written out. */
function naiveBigramEntropy(text: Uint8Array): number {
  const nexts = new Map<number, number[]>();
  for (let i = 1; i < text.length; i++) {
    nexts.set(text[i - 1]!, [...(nexts.get(text[i - 1]!) ?? []), text[i]!]);
  }
  let bits = 0;
  for (const followers of nexts.values()) {
    bits += (followers.length / (text.length - 1)) * unigramEntropy(Uint8Array.from(followers));
  }
  return bits;
}

describe("entropy of a text with itself", () => {
  test("lies between 0 and 8, and no higher than the number of distinct bytes allows", () => {
    fc.assert(
      fc.property(bytes(2), (text) => {
        const unigram = unigramEntropy(text);
        expect(unigram).toBeGreaterThanOrEqual(0);
        expect(unigram).toBeLessThanOrEqual(Math.log2(new Set(text).size) + 1e-12);
        expect(bigramEntropy(text)).toBeGreaterThanOrEqual(0);
        // Conditioning never raises the entropy of the second byte of a pair.
        expect(bigramEntropy(text)).toBeLessThanOrEqual(unigramEntropy(text.subarray(1)) + 1e-12);
      }),
    );
  });

  test("of pairs equals the sum over contexts in the definition", () => {
    fc.assert(
      fc.property(bytes(2), (text) => {
        expect(bigramEntropy(text)).toBeCloseTo(naiveBigramEntropy(text), 10);
      }),
    );
  });

  test("known texts", () => {
    expect(unigramEntropy(encodeBytes("aaaa"))).toBe(0);
    expect(unigramEntropy(encodeBytes("abab"))).toBe(1);
    expect(unigramEntropy(encodeBytes("abcdabcd"))).toBe(2);
    expect(bigramEntropy(encodeBytes("ababababa"))).toBe(0);
    expect(unigramEntropy(Uint8Array.from({ length: 256 }, (_, i) => i))).toBe(8);
  });
});

describe("cross-entropy", () => {
  test("is never below the held-out text's own entropy, and finite for unseen bytes", () => {
    fc.assert(
      fc.property(bytes(0), bytes(2), (train, heldOut) => {
        const unigram = unigramCrossEntropy(train, heldOut);
        expect(unigram).toBeGreaterThanOrEqual(unigramEntropy(heldOut) - 1e-12);
        const bigram = bigramCrossEntropy(train, heldOut);
        expect(bigram).toBeGreaterThanOrEqual(bigramEntropy(heldOut) - 1e-12);
        expect(Number.isFinite(unigram + bigram)).toBe(true);
      }),
    );
  });

  test("with nothing to learn from is 8 bits", () => {
    const heldOut = encodeBytes("whale");
    expect(unigramCrossEntropy(new Uint8Array(), heldOut)).toBe(8);
    expect(bigramCrossEntropy(new Uint8Array(), heldOut)).toBe(8);
  });

  test("follows the smoothed frequencies", () => {
    // p(a) = (3 + 1) / (4 + 256)
    expect(unigramCrossEntropy(encodeBytes("aaab"), encodeBytes("a"))).toBeCloseTo(Math.log2(260 / 4), 12);
    // p(b | a) = (1 + 1) / (3 + 256): "aaab" has three pairs that begin with a.
    expect(bigramCrossEntropy(encodeBytes("aaab"), encodeBytes("ab"))).toBeCloseTo(Math.log2(259 / 2), 12);
  });
});

test("a text too short is refused", () => {
  expect(() => unigramEntropy(new Uint8Array())).toThrow(DataError);
  expect(() => bigramEntropy(encodeBytes("a"))).toThrow(/has 1 bytes.*hint/s);
});

test("nats to bits", () => expect(natsToBits(Math.log(256))).toBeCloseTo(8, 12));
