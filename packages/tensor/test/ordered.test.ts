import { CpuBackend } from "@revnet-zero/backend-cpu";
import { drawValues, expectBitEqual, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Engine, ops, tensor } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

const ranksOf = (values: Float32Array): Int32Array =>
  engine.scope(() => {
    const x = tensor(values, { engine });
    return x.apply(ops.toOrdered, [x], undefined).dataSync().slice() as Int32Array;
  });
const valuesOf = (ranks: Int32Array): Float32Array =>
  engine.scope(() => {
    const k = tensor(ranks, { engine });
    return k.apply(ops.fromOrdered, [k], undefined).dataSync().slice() as Float32Array;
  });

describe("ranks of float32 numbers", () => {
  const drawn = fc.nat().map((seed) => Float32Array.from(drawValues(new Random(seed), 40, "f32", "extreme")));

  test("come back as the same numbers, zeros of both signs and NaN included", () => {
    fc.assert(
      fc.property(drawn, (values) => expectBitEqual(valuesOf(ranksOf(values)), values)),
      runs(50),
    );
  });

  test("are in the order of the numbers", () => {
    fc.assert(
      fc.property(drawn, (values) => {
        const ranks = ranksOf(values);
        for (const [i, a] of values.entries())
          for (const [j, b] of values.entries()) if (a < b) expect(ranks[i]).toBeLessThan(ranks[j]!);
      }),
      runs(50),
    );
  });

  test("count units in the last place: across zero, across powers of two, at the ends", () => {
    const least = 2 ** -149;
    const values = Float32Array.of(
      -least,
      -0,
      0,
      least,
      1 - 2 ** -24,
      1,
      1 + 2 ** -23,
      3.4028234663852886e38,
      Infinity,
    );
    const [a, b, c, d, e, f, g, h, i] = ranksOf(values);
    expect([a, b, c, d]).toEqual([-2, -1, 0, 1]);
    expect([f! - e!, g! - f!, i! - h!]).toEqual([1, 1, 1]);
  });
});
