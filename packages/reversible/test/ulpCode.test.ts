import { expectNoLeak, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeUlps, encodeUlps, ulpCodeBytes } from "../src/side/ulpCode.ts";
import { newEngine } from "./fixtures.ts";
import { ulpProperty } from "./sideProperties.ts";

const engine = newEngine();

describe("the code of units in the last place", () => {
  test("leads from any number to any other, zeros, infinities and NaN included", () => {
    fc.assert(ulpProperty(engine), runs(50));
  });

  test("takes two bits for each element that is off by at most one unit, and four bytes for each other", () => {
    expectNoLeak(engine, () =>
      engine.scope(() => {
        const random = new Random(4);
        const exact = Float32Array.from({ length: 1000 }, () => random.between(1, 2));
        // The spacing of these numbers is 2^-23: none, one and two units.
        const near = exact.map((v, i) => v + (i % 100 === 0 ? 2 : (i % 3) - 1) * 2 ** -23);
        const given = tensor(near, { engine });
        const code = encodeUlps(tensor(exact, { engine }), given);
        expect(code.escapes.size).toBe(10);
        expect(ulpCodeBytes(code)).toBe(4 * Math.ceil(1000 / 16) + 4 * 10);
        expectBitEqual(decodeUlps(given, code).dataSync(), exact);
      }),
    );
  });
});
