import { expectBitEqual, gradcheck, gradgradcheck, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DType, tensor, zeros } from "../src/index.ts";
import { leaf, newEngine, random, valuesOf } from "./engine.fixture.ts";

const sizes = fc.integer({ min: 1, max: 300 });

describe("prod", () => {
  test("of f32 is rounded once, whatever the number of factors", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(sizes, fc.nat(), (n, seed) => {
        engine.scope(() => {
          const drawn = new Random(seed);
          const x = tensor(
            Float32Array.from({ length: n }, () => drawn.between(0.8, 1.2) * drawn.pick([-1, 1])),
            { engine },
          );
          const exact = valuesOf(x).reduce((a, b) => a * b, 1);
          // Half a unit in the last place, and n roundings in float64, here and there.
          const bound = 2 ** -24 + 2 * n * 2 ** -53;
          expect(Math.abs(x.prod().itemSync() - exact)).toBeLessThanOrEqual(bound * Math.abs(exact));
        });
      }),
      runs(60),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("of 16-bit floats is that of f64, rounded once", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.constantFrom<DType>("bf16", "f16"), (n, dtype) => {
        engine.scope(() => {
          const x = random(engine, n, [n, 2], dtype);
          expectBitEqual(x.prod(0).dataSync(), x.cast("f64").prod(0).cast(dtype).dataSync());
        });
      }),
      runs(30),
    );
  });

  test("of integers is modulo 2^32, in i32, in whatever order", () => {
    const engine = newEngine();
    const types = fc.constantFrom<DType>("i32", "i16", "i8", "u8", "bool");
    fc.assert(
      fc.property(types, fc.array(fc.integer(), { maxLength: 20 }), (dtype, values) => {
        engine.scope(() => {
          const x = tensor(values, { engine, dtype });
          const p = x.prod();
          expect(p.dtype).toBe("i32");
          expect(p.itemSync()).toBe(valuesOf(x).reduce(Math.imul, 1));
        });
      }),
      runs(60),
    );
  });

  test("over some axes multiplies along those, and over nothing is 1", () => {
    const engine = newEngine();
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { engine },
    );
    expect(valuesOf(x.prod(0))).toEqual([4, 10, 18]);
    expect(valuesOf(x.prod(-1))).toEqual([6, 120]);
    expect(x.prod(1, { keepDims: true }).shape).toEqual([2, 1]);
    expect(valuesOf(x.transpose().prod([0, 1]))).toEqual([720]);
    expect(valuesOf(x.prod([]))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(valuesOf(zeros([0, 2], { engine }).prod(0))).toEqual([1, 1]);
    expect(valuesOf(zeros([0, 2], { engine }).prod())).toEqual([1]);
    expect(zeros([0, 2], { engine }).prod(1).shape).toEqual([0]);
  });

  test("of f32 passes beyond the range of f32 on its way", () => {
    const engine = newEngine();
    expect(tensor([1e30, 1e30, 1e-30, 1e-30], { engine }).prod().itemSync()).toBeCloseTo(1, 6);
    expect(tensor([1e-30, 1e-30, 1e30, 1e30], { engine }).prod().itemSync()).toBeCloseTo(1, 6);
  });

  test("carries NaN and infinities, and infinity times zero is NaN", () => {
    const engine = newEngine();
    const of = (values: number[]): number => tensor(values, { engine }).prod().itemSync();
    expect(of([2, Number.NaN, 0])).toBeNaN();
    expect(of([2, Number.NEGATIVE_INFINITY, 3])).toBe(Number.NEGATIVE_INFINITY);
    expect(of([0, Number.POSITIVE_INFINITY])).toBeNaN();
  });
});

describe("the gradient of prod", () => {
  test("is the product of the others, exactly, with none, one or more zeros among them", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 1, maxLength: 20 }), (values) => {
        engine.scope(() => {
          const x = leaf(engine, values);
          x.prod().backward();
          const others = values.map((_, i) => values.reduce((p, v, k) => (k === i ? p : p * v), 1));
          // Powers of two with a sign: no product rounds. -0 is 0.
          expect(valuesOf(x.grad).map((g) => g + 0)).toEqual(others.map((o) => o + 0));
        });
      }),
      runs(100),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("and its own gradient are those of differences, at zeros too", async () => {
    const engine = newEngine();
    const make = (values: number[]) => tensor(new Float64Array(values), { shape: [2, 3], engine });
    for (const values of [
      [1.5, -2, 0.5, 3, 1, -1],
      [0, -2, 0.5, 3, 0, 0],
      [0, 0, 0, 3, 1, -1],
    ]) {
      const x = make(values);
      await gradcheck((t) => t.prod(), [x]);
      await gradcheck((t) => t.prod(1), [x]);
      await gradgradcheck((t) => t.prod(0, { keepDims: true }), [x]);
      await gradgradcheck((t) => t.prod(), [x], { elements: 6 });
    }
  });
});
