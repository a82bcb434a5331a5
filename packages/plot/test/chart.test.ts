import { checkWellFormed } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { spreadLabels } from "../src/chartLabels.ts";
import { chartScale } from "../src/chartScale.ts";
import { type LineChart, svgLineChart } from "../src/svgLineChart.ts";

const magnitudes = fc.tuple(fc.double({ min: 0.1, max: 10, noNaN: true }), fc.integer({ min: -12, max: 12 }));
const values = fc
  .oneof(
    fc.constant(0),
    magnitudes.map(([value, power]) => value * 10 ** power),
  )
  .chain((value) => fc.constantFrom(value, -value));

describe("chartScale", () => {
  test("puts every value on the axis, ticks in order from its beginning to its end, about as many as asked for", () => {
    fc.assert(
      fc.property(
        values,
        values,
        fc.constantFrom("decimal", "binary"),
        fc.integer({ min: 3, max: 10 }),
        (a, b, base, count) => {
          const [least, greatest] = [Math.min(a, b), Math.max(a, b)];
          // Closer together than this, neighbouring ticks are one number.
          fc.pre(greatest - least === 0 || greatest - least > 1e-9 * Math.max(Math.abs(a), Math.abs(b)));
          const { place, ticks } = chartScale(least, greatest, { base, count });
          for (const value of [a, b]) {
            expect(place(value)).toBeGreaterThan(-1e-6);
            expect(place(value)).toBeLessThan(1 + 1e-6);
          }
          expect(place(ticks[0]!)).toBeCloseTo(0, 6);
          expect(place(ticks.at(-1)!)).toBeCloseTo(1, 6);
          for (let i = 1; i < ticks.length; i++) expect(ticks[i]!).toBeGreaterThan(ticks[i - 1]!);
          expect(ticks.length).toBeGreaterThanOrEqual(2);
          expect(ticks.length).toBeLessThanOrEqual(count + 3);
        },
      ),
    );
  });

  test("the same on a log axis, with equal ratios equally far apart", () => {
    const positive = magnitudes.map(([value, power]) => value * 10 ** power);
    fc.assert(
      fc.property(positive, positive, fc.constantFrom("decimal", "binary"), (a, b, base) => {
        const { place, ticks } = chartScale(Math.min(a, b), Math.max(a, b), { isLog: true, base });
        for (const value of [a, b]) {
          expect(place(value)).toBeGreaterThan(-1e-6);
          expect(place(value)).toBeLessThan(1 + 1e-6);
        }
        expect(place(a * 3) - place(a)).toBeCloseTo(place(b * 3) - place(b), 6);
        expect([...ticks].sort((x, y) => x - y)).toEqual(ticks);
        expect(ticks.length).toBeLessThanOrEqual(9);
      }),
    );
  });

  test("ticks are round", () => {
    expect(chartScale(0.07, 0.93).ticks).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(chartScale(2.1, 7.9).ticks).toEqual([2, 3, 4, 5, 6, 7, 8]);
    expect(chartScale(0, 300 * 2 ** 20, { base: "binary" }).ticks.map((tick) => tick / 2 ** 20)).toEqual([
      0, 64, 128, 192, 256, 320,
    ]);
    expect(chartScale(3, 80, { isLog: true }).ticks).toEqual([1, 2, 5, 10, 20, 50, 100]);
  });
});

test("labels keep their order and distance, and stay inside where there is room", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 300, noNaN: true }), { maxLength: 12 }), (heights) => {
      const labels = spreadLabels(
        heights.map((y) => ({ text: "", y, className: "" })),
        0,
        300,
        17,
      );
      expect(labels.map(({ y }) => y)).toEqual([...heights].sort((a, b) => a - b));
      labels.forEach(({ at }, i) => {
        if (i > 0) expect(at - labels[i - 1]!.at).toBeGreaterThanOrEqual(17 - 1e-9);
        expect(at).toBeGreaterThanOrEqual(-1e-9);
        expect(at).toBeLessThanOrEqual(300 + 1e-9);
      });
      const apart = heights.every((a, i) => heights.every((b, j) => i === j || Math.abs(a - b) >= 17));
      if (apart) for (const { at, y } of labels) expect(at).toBeCloseTo(y, 9);
    }),
  );
});

describe("svgLineChart", () => {
  const figure = fc.oneof(values, fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY));
  const series = fc.record(
    {
      name: fc.string(),
      points: fc.array(fc.record({ x: figure, y: figure }), { maxLength: 30 }),
      isFaint: fc.boolean(),
    },
    { requiredKeys: ["name", "points"] },
  );
  const charts: fc.Arbitrary<LineChart> = fc.record(
    {
      title: fc.string(),
      xLabel: fc.string(),
      yLabel: fc.string(),
      series: fc.array(series, { maxLength: 6 }),
      referenceLines: fc.array(fc.record({ name: fc.string(), y: figure }), { maxLength: 3 }),
      xLog: fc.boolean(),
      yLog: fc.boolean(),
      yBase: fc.constantFrom("decimal", "binary"),
    },
    { requiredKeys: ["title", "xLabel", "yLabel", "series"] },
  );

  test("is well-formed and draws inside its frame, whatever the data", () => {
    fc.assert(
      fc.property(charts, (chart) => {
        const svg = svgLineChart(chart);
        checkWellFormed(svg);
        const drawn = svg.replace(/<(title|desc|text|style).*?<\/\1>/gs, "");
        expect(drawn).not.toMatch(/NaN|Infinity|undefined/);
        for (const [, numbers = ""] of drawn.matchAll(/ (?:d|[xy]\d?|c[xy])="([^"]*)"/g)) {
          for (const number of numbers.match(/-?[\d.]+/g) ?? []) {
            expect(Number(number)).toBeGreaterThanOrEqual(-0.1);
            expect(Number(number)).toBeLessThanOrEqual(820.1);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("names lines at their ends, describes itself in words, and says when there is nothing", () => {
    const chart = {
      title: "Loss",
      xLabel: "step",
      yLabel: "bits",
      series: [{ name: "held-out", points: [8, 4, 2].map((y, i) => ({ x: i * 10, y })) }],
      referenceLines: [{ name: "pairs", y: 3.5 }],
    };
    const svg = svgLineChart(chart);
    expect(svg).toContain(">held-out 2</text>");
    expect(svg).toContain(">pairs 3.5</text>");
    expect(svg).toContain(
      "Line chart of bits against step. held-out goes from 8 at 0 to 2 at 20. For comparison, pairs is 3.5.</desc>",
    );
    expect(svgLineChart({ ...chart, series: [] })).toContain("no data");
  });

  test("a long curve is thinned without losing its peaks", () => {
    const points = Array.from({ length: 100_000 }, (_, x) => ({ x, y: x === 54_321 ? 9 : Math.sin(x / 5000) }));
    const svg = svgLineChart({ title: "t", xLabel: "x", yLabel: "y", series: [{ name: "s", points }] });
    expect(svg.length).toBeLessThan(40_000);
    const heights = [...svg.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, y]) => Number(y));
    const ordinary = heights.filter((y) => y < 200);
    expect(ordinary.length).toBeGreaterThan(0);
    expect(ordinary.length).toBeLessThan(5);
  });

  test("a line is interrupted where there is no value", () => {
    const points = [1, 2, Number.NaN, 3, 4].map((y, x) => ({ x, y }));
    const svg = svgLineChart({ title: "t", xLabel: "x", yLabel: "y", series: [{ name: "s", points }] });
    expect(/class="line s1" d="([^"]*)"/.exec(svg)?.[1]?.match(/M/g)).toHaveLength(2);
  });
});
