import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { deviation, fitLine, median, quantile, timeColumns } from "../src/statistics.ts";

const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 30 });

describe("the median", () => {
  test("has as many values at or above as at or below", () => {
    fc.assert(
      fc.property(numbers, (values) => {
        const middle = median(values);
        const above = values.filter((v) => v >= middle).length;
        const below = values.filter((v) => v <= middle).length;
        expect(Math.min(above, below)).toBeGreaterThanOrEqual(values.length / 2);
      }),
    );
  });

  test("is the mean of the middle two, and quartiles interpolate", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(quantile([0, 10], 0.25)).toBe(2.5);
    expect(() => median([])).toThrow("no values");
  });
});

test("a line is found again from its points, and a bend shows as deviation", () => {
  const line = fitLine([6, 12, 24, 48].map((x) => [x, 3 * x + 7] as const));
  expect(line.slope).toBeCloseTo(3, 12);
  expect(line.intercept).toBeCloseTo(7, 12);
  expect(line.largestDeviation).toBeLessThan(1e-12);
  expect(fitLine([6, 12, 24, 48].map((x) => [x, x * x] as const)).largestDeviation).toBeGreaterThan(0.05);
});

test("times become the median, the least and the spread", () => {
  expect(timeColumns([10, 12, 11, 30])).toEqual({
    timeMs: 11.5,
    timeMsMinimum: 10,
    timeMsSpread: 5.75 / 11.5,
    repeats: 4,
  });
  expect(deviation([1, 3])).toBeCloseTo(Math.SQRT2, 12);
});
