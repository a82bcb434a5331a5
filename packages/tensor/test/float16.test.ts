import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromBf16, fromF16, toBf16, toF16 } from "../src/index.ts";

const words = Array.from({ length: 65536 }, (_, w) => w);

/** The two formats by their parameters: everything below is derived from the definition in IEEE 754. */
const formats = {
  bf16: { from: fromBf16, to: toBf16, exponentBits: 8, fractionBits: 7 },
  f16: { from: fromF16, to: toF16, exponentBits: 5, fractionBits: 10 },
} as const;

/** The value of a word by the definition: sign, exponent, fraction. */
function meaning(w: number, exponentBits: number, fractionBits: number): number {
  const sign = w >>> 15 ? -1 : 1;
  const exponent = (w >>> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (w & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

describe.each(Object.entries(formats))("%s", (_, { from, to, exponentBits, fractionBits }) => {
  const isNaNWord = (w: number): boolean => Number.isNaN(meaning(w, exponentBits, fractionBits));

  test("all 65,536 words mean what IEEE 754 says", () => {
    for (const w of words) {
      if (!Object.is(from(w), meaning(w, exponentBits, fractionBits))) expect.fail(`word ${w} is ${from(w)}`);
    }
  });

  test("all 65,536 words come back from their value; NaN stays a quiet NaN of its sign", () => {
    for (const w of words) {
      if (!isNaNWord(w)) {
        if (to(from(w)) !== w) expect.fail(`word ${w} came back as ${to(from(w))}`);
      } else if (!isNaNWord(to(from(w)))) expect.fail(`NaN ${w} came back as ${to(from(w))}`);
    }
  });

  // The finite values in order, with the first one that is out of range in the place of infinity.
  const positive = words.slice(0, 0x8000).filter((w) => !isNaNWord(w));
  const infinity = positive[positive.length - 1]!;
  const numberOf = (w: number): number =>
    w === infinity ? 2 ** (2 ** (exponentBits - 1)) : meaning(w, exponentBits, fractionBits);

  /** Round half to even by definition: the nearer neighbour, or the even word of the two. Positive values only. */
  function nearest(v: number): number {
    let [low, high] = [0, infinity];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (numberOf(middle) <= v) low = middle;
      else high = middle;
    }
    if (v >= numberOf(high)) return high;
    const [below, above] = [v - numberOf(low), numberOf(high) - v];
    return below < above ? low : above < below ? high : low % 2 === 0 ? low : high;
  }

  test("rounds every float32 to the nearest, ties to even", () => {
    const bits = new Uint32Array(1);
    const float = new Float32Array(bits.buffer);
    // The tie above infinity would be infinity itself, and the float32 after it NaN.
    const finite = fc.constantFrom(...positive.slice(0, -1));
    const aroundTies = fc.tuple(finite, fc.integer({ min: -2, max: 2 })).map(([w, step]) => {
      float[0] = (numberOf(w) + numberOf(w + 1)) / 2;
      bits[0] = bits[0]! + step;
      return float[0]!;
    });
    const anyFloat = fc.integer({ min: 0, max: 0x7f7fffff }).map((b) => {
      bits[0] = b;
      return float[0]!;
    });
    fc.assert(
      fc.property(fc.oneof(anyFloat, aroundTies), fc.boolean(), (v, isNegative) => {
        const expected = nearest(v) | (isNegative ? 0x8000 : 0);
        expect(to(isNegative ? -v : v)).toBe(expected);
      }),
      { numRuns: 3000 },
    );
  });

  test("overflow gives infinity, infinities and signed zeros stay", () => {
    expect(to(Number.MAX_VALUE)).toBe(infinity);
    expect(from(to(Number.NEGATIVE_INFINITY))).toBe(Number.NEGATIVE_INFINITY);
    expect(from(to(-0))).toBe(-0);
    expect(from(to(0))).toBe(0);
  });

  test("a float64 is rounded to float32 first, as a device does", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (v) => {
        expect(to(v)).toBe(to(Math.fround(v)));
      }),
    );
  });
});
