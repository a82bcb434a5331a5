import { type Engine, tensor } from "@revnet-zero/tensor";
import { drawValues, expectBitEqual, Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect } from "vitest";
import { decodeUlps, encodeUlps } from "../src/side/ulpCode.ts";
import { runBuffer } from "./informationBuffer.ts";

// Properties that `npm test` checks a few times and `npm run test:deep` a thousand.

const term = (most: number): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: most }));

/** Any factors, one an element: exact, of the size of what the factors below 1 take away, products within a unit. */
export const bufferProperty = (engine: Engine): fc.IPropertyWithHooks<[number, number, number, number]> =>
  fc.property(
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 0, max: 40 }),
    fc.nat(),
    fc.integer({ min: 1, max: 2 ** 15 - 1 }),
    (size, steps, seed, most) => {
      const { bits, contracted } = runBuffer(engine, {
        ...{ size, steps, seed, largest: 2 ** 14, isPerElement: true },
        ratio: (random, step) => {
          // Up and down in turn, so that products stay in range.
          const [a, b] = [random.integer(1, most), random.integer(1, most)].sort((x, y) => x - y) as [number, number];
          return step % 2 === 0 ? [a, b] : [Math.min(b, a * 3, 2 ** 15 - 1), Math.max(a, Math.ceil(b / 3))];
        },
      });
      expect(bits).toBeLessThanOrEqual(contracted + 64);
    },
  );

/** One factor: K log2(d/n) bits and 64, whatever the numbers. */
export const ratioProperty = (engine: Engine): fc.IPropertyWithHooks<[number, number, number, number]> =>
  fc.property(term(2 ** 15 - 1), term(2 ** 15 - 1), fc.integer({ min: 0, max: 60 }), fc.nat(), (n, d, many, seed) => {
    // Products of a factor above 1 must stay below 2^31.
    const steps = n <= d ? many : Math.min(many, Math.floor(20 / Math.log2(n / d + 1)));
    const largest = n <= d ? 2 ** 30 : 2 ** 6;
    const { bits, information } = runBuffer(engine, {
      ...{ size: 20, steps, seed, largest, isPerElement: false },
      ratio: () => [n, d],
    });
    expect(bits).toBeLessThanOrEqual(Math.max(0, information) + 64);
  });

/** A code leads from any float32 to any other. */
export const ulpProperty = (engine: Engine): fc.IPropertyWithHooks<[number, number, boolean]> =>
  fc.property(fc.nat(), fc.nat({ max: 70 }), fc.boolean(), (seed, size, isNear) => {
    const random = new Random(seed);
    const exact = Float32Array.from(drawValues(random, size, "f32", "extreme"));
    const near = isNear ? exact.map((v) => v * (1 + random.integer(-2, 2) * 2 ** -23)) : [...exact].reverse();
    engine.scope(() => {
      const given = tensor(Float32Array.from(near), { engine });
      const code = encodeUlps(tensor(exact, { engine }), given);
      expectBitEqual(decodeUlps(given, code).dataSync(), exact);
    });
  });
