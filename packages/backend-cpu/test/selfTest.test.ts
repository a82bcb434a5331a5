import { describe, expect, test } from "vitest";
import { CpuBackend } from "../src/index.ts";
import { faultOf, gainOfPairs } from "../src/wasm/device/selfTest.ts";
import { fusedMultiply, type Multiply, roundedMultiply } from "../src/wasm/multiply.ts";

describe("the tier's self-test", () => {
  test("passes what kernels multiply and add with", () => {
    expect(faultOf(roundedMultiply)).toBeUndefined();
    if (new CpuBackend().tier !== "simd") expect(faultOf(fusedMultiply)).toBeUndefined();
  });

  test("finds a multiply-add that rounds its product, though it promised not to", () => {
    expect(faultOf({ ...roundedMultiply, isFused: true })).toBe("its relaxed multiply-add rounds the product");
  });

  test("finds wrong numbers, whichever of the two functions gives them", () => {
    const { add, subtractFrom } = roundedMultiply;
    const wrong: readonly Multiply[] = [
      { isFused: false, add: subtractFrom, subtractFrom },
      { isFused: false, add, subtractFrom: add },
      { isFused: false, add: (a, b, c) => add(b, c, a), subtractFrom },
    ];
    for (const multiply of wrong) expect(faultOf(multiply)).toMatch(/^its multiply-add gives /);
  });

  test("measures what joined vectors gain: a number, whatever the engine does", () => {
    expect(gainOfPairs(roundedMultiply)).toBeGreaterThan(0);
  });
});
