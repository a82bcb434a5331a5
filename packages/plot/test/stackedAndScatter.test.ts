import { checkWellFormed } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ScatterChart, type StackedChart, svgScatterChart, svgStackedChart, textScatter } from "../src/index.ts";

const finite = fc.integer({ min: 0, max: 1e9 }).map((n) => n / 64);
const names = fc.string({ maxLength: 12 }).map((name) => name.replaceAll("|", ""));

const stacked: fc.Arbitrary<StackedChart> = fc
  .record({
    steps: fc.array(fc.record({ dx: finite, values: fc.array(finite, { minLength: 3, maxLength: 3 }) }), {
      maxLength: 30,
    }),
    layers: fc.array(names, { minLength: 3, maxLength: 3 }),
    bands: fc.array(fc.record({ name: names, from: finite, to: finite }), { maxLength: 3 }),
    budget: fc.option(finite),
    title: names,
  })
  .map(({ steps, layers, bands, budget, title }) => {
    let x = 0;
    const samples = steps.map(({ dx, values }) => {
      x += dx;
      return { x, values };
    });
    const lines = budget === null ? {} : { referenceLines: [{ name: "budget", y: budget }] };
    return { title, xLabel: "time", yLabel: "bytes", layers, samples, bands, yBase: "binary", ...lines };
  });

const scatter: fc.Arbitrary<ScatterChart> = fc
  .record({
    title: names,
    front: fc.array(fc.record({ x: finite, y: finite }), { maxLength: 8 }),
    points: fc.array(fc.record({ x: finite, y: finite, name: names, isChosen: fc.boolean() }), { maxLength: 5 }),
    limit: fc.option(finite),
  })
  .map(({ title, front, points, limit }) => ({
    title,
    xLabel: "bytes",
    yLabel: "time",
    front: { name: "best", points: front.sort((a, b) => a.x - b.x) },
    points,
    ...(limit === null ? {} : { limit: { name: "budget", x: limit } }),
  }));

/** Every coordinate in the drawing. */
const coordinates = (svg: string): number[] =>
  [...svg.matchAll(/ (?:c?[xy][12]?)="([^"]+)"/g)].map(([, n]) => Number(n));

describe("stacked areas", () => {
  test("are well formed and stay in the picture, whatever the samples", () => {
    fc.assert(
      fc.property(stacked, (chart) => {
        const svg = svgStackedChart(chart);
        checkWellFormed(svg);
        expect(svg).not.toMatch(/NaN|Infinity/);
        for (const n of coordinates(svg.replace(/<rect class="band[^>]*>|<text class="band-name[^>]*>/g, ""))) {
          expect(n).toBeGreaterThanOrEqual(0);
          expect(n).toBeLessThanOrEqual(820);
        }
      }),
    );
  });

  test("name the highest instant, and keep it however many samples there are", () => {
    const samples = Array.from({ length: 5000 }, (_, i) => ({ x: i, values: [i === 3210 ? 900 : 100, 50] }));
    const svg = svgStackedChart({ title: "t", xLabel: "x", yLabel: "y", layers: ["a", "b"], samples });
    expect(svg).toContain("The highest instant is 950 at 3210: a 900, b 50.");
    expect(svg).toContain(">peak 950</text>");
    expect(svg.length).toBeLessThan(60_000);
    // The axis goes to 1000: the peak's corner is drawn at its height.
    const top = 92 + (1 - 950 / 1000) * (390 - 92);
    expect(svg).toContain(` ${top.toFixed(1)}L`);
  });
});

describe("a scatter chart", () => {
  test("is well formed, in SVG and in text, whatever the points", () => {
    fc.assert(
      fc.property(scatter, fc.integer({ min: 30, max: 120 }), (chart, width) => {
        const svg = svgScatterChart(chart);
        checkWellFormed(svg);
        expect(svg).not.toMatch(/NaN|Infinity/);
        const lines = textScatter(chart, { width });
        const drawn = lines.filter((line) => line.includes(" |"));
        expect(drawn.length).toBe(chart.front.points.length + (chart.points?.length ?? 0) === 0 ? 0 : 14);
        for (const line of drawn) expect(line.length).toBeLessThanOrEqual(Math.max(width, 45));
      }),
    );
  });

  test("in text is what one expects of it", () => {
    const chart = {
      title: "Plans",
      xLabel: "peak",
      yLabel: "ms a step",
      front: {
        name: "best plans",
        points: [
          { x: 10, y: 300 },
          { x: 20, y: 200 },
          { x: 40, y: 150 },
        ],
      },
      points: [
        { name: "all rebuilt", x: 12, y: 320 },
        { name: "chosen", x: 20, y: 200, isChosen: true },
      ],
      limit: { name: "budget", x: 30 },
    };
    expect(textScatter(chart, { width: 48, height: 8 }).join("\n")).toMatchInlineSnapshot(`
      "Plans
      ms a step
      350 |                           :
          |   x                       :
      300 |.-------------             :
          |                           :
      250 |                           :
      200 |              @--------------------------
          |                           :
      150 |                           :             .
          +------------------------------------------
           10    15     20     25    30     35     40
           peak
        . best plans   : budget 30
        x all rebuilt: 320 at 12
        @ chosen: 200 at 20"
    `);
  });
});
