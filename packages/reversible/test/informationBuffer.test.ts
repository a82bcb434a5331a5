import { expectNoLeak, tensor } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeHead, multiply, undoMultiply } from "../src/side/informationBuffer.ts";
import { newEngine } from "./fixtures.ts";
import { runBuffer } from "./informationBuffer.ts";
import { bufferProperty, ratioProperty } from "./sideProperties.ts";

const engine = newEngine();

describe("the information buffer", () => {
  test("undoes any factors on numbers of any sign, and keeps what those below 1 take: Σ log2(d/n) bits and 64", () => {
    fc.assert(bufferProperty(engine), runs(50));
  });

  test("takes K log2(d/n) bits for a constant factor, and 64: nothing for factors above 1", () => {
    fc.assert(ratioProperty(engine), runs(50));
  });

  test.each([
    [9, 10],
    [99, 100],
    [1, 2],
  ])("of %i/%i is exact and of the right size after 16, 64 and 256 multiplications", (n, d) => {
    for (const steps of [16, 64, 256]) {
      const { bits, information } = runBuffer(engine, {
        ...{ size: 300, steps, seed: steps, largest: 2 ** 20, isPerElement: false },
        ratio: () => [n, d],
      });
      expect(information).toBeCloseTo(steps * Math.log2(d / n), 6);
      expect(bits).toBeLessThan(information + 64);
      expect(bits).toBeGreaterThan(information);
    }
  });

  test("leaves nothing alive", () => {
    expectNoLeak(engine, () =>
      runBuffer(engine, { size: 5, steps: 9, seed: 1, largest: 99, isPerElement: true, ratio: () => [3, 4] }),
    );
  });

  test("refuses bytes that are not its own", () => {
    engine.scope(() => {
      const v = tensor([5, -7], { dtype: "i32", engine });
      const [n, d] = [tensor([1], { dtype: "i32", engine }), tensor([4096], { dtype: "i32", engine })];
      const done = multiply(v, n, d, makeHead(v));
      expect(done.bytes.size).toBe(2);
      const bytes = done.bytes.narrow(0, 0, 1);
      expect(errorText(() => undoMultiply({ ...done, bytes }, n, d))).toMatchInlineSnapshot(`
        "ValueError: reversible: the information buffer has too few bytes
          hint: undo multiplications last in, first out, with the ratio and the bytes that each had and gave"
      `);
      expect(
        errorText(() => undoMultiply({ ...done, bytes: done.bytes.concat([bytes], 0) }, n, d)),
      ).toMatchInlineSnapshot(`
        "ValueError: reversible: the information buffer has 1 bytes left
          hint: undo multiplications last in, first out, with the ratio and the bytes that each had and gave"
      `);
    });
  });
});
