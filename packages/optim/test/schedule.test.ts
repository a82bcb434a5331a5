import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { schedules } from "../src/index.ts";

const { constant, cosine, linear, product, sequence, warmUp } = schedules;
const steps = fc.integer({ min: 1, max: 500 });
const value = fc.double({ min: 0, max: 10, noNaN: true });

test("ramps begin at from, end at to, and never turn back", () => {
  fc.assert(
    fc.property(fc.constantFrom(linear, cosine), steps, value, value, (ramp, n, from, to) => {
      const s = ramp({ from, to, steps: n });
      expect(s(0)).toBeCloseTo(from, 12);
      for (const step of [n, n + 1, 10 * n]) expect(s(step)).toBeCloseTo(to, 12);
      for (let step = 1; step <= n; step++) {
        const change = (s(step) - s(step - 1)) * Math.sign(to - from);
        expect(change).toBeGreaterThanOrEqual(-1e-12);
      }
      expect(s(n / 2)).toBeCloseTo((from + to) / 2, 12);
    }),
    runs(50),
  );
});

test("warm-up rises by equal steps, from one of them to the whole", () => {
  fc.assert(
    fc.property(steps, value, (n, to) => {
      const s = warmUp({ steps: n, to });
      for (let step = 0; step < n; step++) expect(s(step)).toBeCloseTo((to * (step + 1)) / n, 12);
      expect(s(n - 1)).toBe(to);
      expect(s(5 * n)).toBe(to);
    }),
    runs(50),
  );
});

test("phases follow one another, each from its own step 0", () => {
  fc.assert(
    fc.property(fc.nat({ max: 20 }), fc.nat({ max: 20 }), (a, b) => {
      const s = sequence(
        { schedule: (t) => t, steps: a },
        { schedule: (t) => 100 + t, steps: b },
        { schedule: (t) => 200 + t },
      );
      for (let step = 0; step < 60; step++) {
        expect(s(step)).toBe(step < a ? step : step < a + b ? 100 + step - a : 200 + step - a - b);
      }
    }),
    runs(50),
  );
});

test("the usual recipe: warm up, then half a cosine down to a tenth", () => {
  const peak = 0.001;
  const s = sequence(
    { schedule: warmUp({ steps: 10, to: peak }), steps: 10 },
    { schedule: cosine({ from: peak, to: peak / 10, steps: 90 }) },
  );
  expect(s(0)).toBeCloseTo(peak / 10, 15);
  expect(s(9)).toBe(peak);
  expect(s(10)).toBe(peak);
  expect(s(55)).toBeCloseTo(0.55 * peak, 15);
  expect(s(100)).toBeCloseTo(peak / 10, 15);
});

test("schedules multiply", () => {
  const s = product(constant(0.5), linear({ from: 1, to: 0, steps: 4 }));
  expect([0, 1, 2, 3, 4].map(s)).toEqual([0.5, 0.375, 0.25, 0.125, 0]);
});

test("lengths that are none are refused", () => {
  expect(() => cosine({ from: 1, to: 0, steps: 0 })).toThrow("cosine: steps is 0");
  expect(() => warmUp({ steps: 2.5 })).toThrow("warmUp: steps is 2.5");
  expect(() => sequence()).toThrow("no phases");
  expect(() => sequence({ schedule: constant() }, { schedule: constant() })).toThrow("say how long each phase lasts");
});
