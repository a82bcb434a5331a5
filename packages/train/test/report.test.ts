import { escapeMarkup, html } from "@revnet-zero/plot";
import { checkWellFormed } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultConfig } from "../src/config.ts";
import { headlineFigures } from "../src/report/headline.ts";
import { renderReport } from "../src/report/renderReport.ts";
import type { ReportData } from "../src/report/reportData.ts";

const MiB = 2 ** 20;
const data: ReportData = {
  title: "Moby-Dick, 6 reversible blocks",
  createdAt: "23 November 2026",
  run: { steps: 1000, durationMs: 192_000, tokensPerSecond: 5333, parameters: 1_215_000, peakBytes: 41 * MiB },
  loss: {
    train: Array.from({ length: 200 }, (_, i) => ({ x: i + 1, y: 8 - i / 40 })),
    heldOut: [0, 100, 200].map((x) => ({ x, y: 8 - x / 40 })),
    unigramBits: 4.378,
    bigramBits: 3.36,
  },
  memory: {
    points: [2, 6, 24].map((depth) => ({ depth, storedBytes: depth * 6 * MiB, reversibleBytes: 9 * MiB })),
  },
  exactness: {
    rows: [
      { name: "6 blocks", isReconstructionBitEqual: true, isGradientBitEqual: true, elementsCompared: 1_215_000 },
      { name: "12 blocks", isReconstructionBitEqual: true, isGradientBitEqual: true, elementsCompared: 2_400_000 },
    ],
  },
  sample: { prompt: "Call me", text: " Ishmael & <co>" },
  config: defaultConfig,
  environment: { Node: "24" },
};

/** Texts that would be markup. */
const texts = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "<script>alert(1)</script>",
    '" onload="x',
    "</pre>",
    "&amp;",
    "<!--",
    "]]>",
    "</script>",
    "\u0000\u001b",
  ),
);
const figure = fc.oneof(fc.double(), fc.double({ min: 0, max: 10 }));
const points = fc.array(fc.record({ x: figure, y: figure }), { maxLength: 60 });

const reports: fc.Arbitrary<ReportData> = fc.record(
  {
    title: texts,
    createdAt: texts,
    run: fc.record({
      steps: fc.nat(),
      durationMs: figure,
      tokensPerSecond: figure,
      parameters: fc.nat(),
      peakBytes: figure,
    }),
    loss: fc.record(
      { train: points, heldOut: points, unigramBits: figure, bigramBits: figure },
      { requiredKeys: ["train", "heldOut"] },
    ),
    memory: fc.record({
      points: fc.array(fc.record({ depth: fc.nat(), storedBytes: figure, reversibleBytes: figure }), { maxLength: 5 }),
    }),
    exactness: fc.record({
      rows: fc.array(
        fc.record({
          name: texts,
          isReconstructionBitEqual: fc.boolean(),
          isGradientBitEqual: fc.boolean(),
          elementsCompared: fc.nat(),
        }),
        { maxLength: 4 },
      ),
      note: texts,
    }),
    sample: fc.record({ prompt: texts, text: texts }),
    config: fc.dictionary(texts, fc.dictionary(texts, fc.jsonValue())),
    environment: fc.dictionary(texts, texts),
  },
  { requiredKeys: ["title", "run", "loss", "config", "environment"] },
);

describe("a report", () => {
  test("is a well-formed page that loads nothing, whatever the data", () => {
    fc.assert(
      fc.property(reports, (report) => {
        const page = renderReport(report);
        checkWellFormed(page);
        const shown = page.replace(/<script type="application\/json".*<\/script>/s, "");
        expect(shown).not.toMatch(/<(script|link|img|iframe|object)|\s(src|href|on\w+)="[^"]*"|url\(|@import/i);
      }),
    );
  });

  test("is the same for the same data, and holds the data for programs", () => {
    const page = renderReport(data);
    expect(renderReport(structuredClone(data))).toBe(page);
    const json = /id="report-data">(.*?)<\/script>/s.exec(page)?.[1];
    expect(JSON.parse(json ?? "")).toEqual(data);
  });

  test("has every section and the data in it", () => {
    const page = renderReport(data);
    for (const heading of ["Loss", "Memory", "Exactness", "A sample of its writing", "Configuration", "Environment"]) {
      expect(page).toContain(`>${heading}</h2>`);
    }
    expect(page).toContain("<mark>Call me</mark> Ishmael &amp; &lt;co&gt;</pre>");
    expect(page.match(/\u2713 bit-equal/g)).toHaveLength(4);
    expect(page).toContain(">byte pairs 3.36</text>");
    expect(page).toContain("<dt>numLayers</dt><dd>6</dd>");
  });

  test("leaves out what is not there", () => {
    const { title, run, config, environment } = data;
    const loss = { train: data.loss.train, heldOut: data.loss.heldOut };
    const page = renderReport({
      title,
      run,
      loss,
      config,
      environment,
      memory: { points: [] },
      exactness: { rows: [] },
    });
    expect(page.match(/<h2/g)).toHaveLength(3);
    expect(page).not.toMatch(/Dashed|byte pairs/);
    checkWellFormed(page);
  });
});

describe("headline figures", () => {
  test("are taken from the data", () => {
    expect(headlineFigures(data)).toMatchObject([
      { value: "3.000", note: "0.36 better than counted byte pairs", isBad: false },
      { value: "16\u00d7", note: "24 blocks: 9.00 MiB instead of 144 MiB" },
      { value: "0 bits", note: "3\u202f615\u202f000 numbers compared", isBad: false },
      { value: "5.33k", note: "1\u202f000 steps in 3m 12s, 1.22M parameters" },
    ]);
  });

  test("say so when something is wrong", () => {
    const exactness = { rows: data.exactness!.rows.map((row, i) => ({ ...row, isGradientBitEqual: i === 0 })) };
    const loss = { ...data.loss, heldOut: [{ x: 0, y: 7 }] };
    const bad = headlineFigures({ ...data, exactness, loss }).filter(({ isBad }) => isBad);
    expect(bad.map(({ value, label }) => `${value} ${label}`)).toEqual([
      "7.000 bits per byte, held-out",
      "1 of 2 checks found a difference",
    ]);
  });
});

test("escaped text is the same text again, and the template escapes all that is no markup", () => {
  const unescaped = (text: string) =>
    text.replace(
      /&(amp|lt|gt|quot|#39);/g,
      (_, name) => ({ amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" })[name as string]!,
    );
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect(unescaped(escapeMarkup(text))).toBe(text);
      expect(escapeMarkup(text)).not.toMatch(/[<>"']/);
    }),
  );
  expect(html`<b>${"<"}${[1, html`<i/>`, undefined, false]}</b>`.text).toBe("<b>&lt;1<i/></b>");
});
