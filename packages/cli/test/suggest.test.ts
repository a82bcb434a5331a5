import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { editDistance, suggest } from "../src/suggest.ts";

const words = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 7 });

describe("editDistance", () => {
  test("is zero for equal words only, symmetric, and at most the longer length", () => {
    fc.assert(
      fc.property(words, words, (a, b) => {
        expect(editDistance(a, b) === 0).toBe(a === b);
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(editDistance(a, b)).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
    );
  });

  test("is one for one insertion, replacement or swap of neighbours", () => {
    fc.assert(
      fc.property(words, fc.nat(), (word, at) => {
        const i = at % (word.length + 1);
        expect(editDistance(word, `${word.slice(0, i)}x${word.slice(i)}`)).toBe(1);
        if (i < word.length) expect(editDistance(word, `${word.slice(0, i)}x${word.slice(i + 1)}`)).toBe(1);
      }),
    );
    expect(editDistance("ab", "ba")).toBe(1);
    expect(editDistance("swilgu", "swiglu")).toBe(1);
  });
});

describe("suggest", () => {
  test("finds a word with one mistake, in any case, with dashes or underscores", () => {
    expect(suggest("num_layers", ["numHeads", "numLayers"])).toBe("numLayers");
    expect(suggest("trian", ["train", "info"])).toBe("train");
    expect(suggest("GELO", ["gelu", "geglu"])).toBe("gelu");
  });

  test("says nothing where nothing is near", () => {
    expect(suggest("banana", ["train", "info"])).toBeUndefined();
    expect(suggest("x", [])).toBeUndefined();
  });
});
