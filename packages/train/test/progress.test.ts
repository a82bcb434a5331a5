import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatProgress, type ProgressState } from "../src/progress/formatProgress.ts";
import { ProgressBar, type ProgressStream } from "../src/progress/progressBar.ts";

const figure = fc.oneof(fc.double(), fc.double({ min: 0, max: 20 }));
const states: fc.Arbitrary<ProgressState> = fc.record(
  {
    step: fc.nat(),
    totalSteps: fc.nat(),
    loss: figure,
    heldOutLoss: figure,
    learningRate: figure,
    gradientNorm: figure,
    tokensPerSecond: figure,
    remainingMs: figure,
    peakBytes: figure,
  },
  { requiredKeys: ["step", "totalSteps"] },
);

const full: ProgressState = {
  step: 340,
  totalSteps: 1000,
  loss: Math.LN2,
  heldOutLoss: 0.75,
  learningRate: 0.0006,
  gradientNorm: 0.853,
  tokensPerSecond: 12_345,
  remainingMs: 192_000,
  peakBytes: 118 * 2 ** 20,
};

describe("formatProgress", () => {
  test("is one line, never wider than allowed", () => {
    fc.assert(
      fc.property(states, fc.nat({ max: 200 }), (state, width) => {
        const line = formatProgress(state, width);
        expect([...line].length).toBeLessThanOrEqual(width);
        expect(line).not.toMatch(/\p{Control}|undefined/u);
      }),
    );
  });

  test("never shows less when there is more room", () => {
    const count = (line: string) => line.split(/ {2,}/).filter((part) => /\d/.test(part)).length;
    fc.assert(
      fc.property(states, fc.nat({ max: 200 }), (state, width) => {
        expect(count(formatProgress(state, width + 1))).toBeGreaterThanOrEqual(count(formatProgress(state, width)));
      }),
    );
  });

  test("shows everything where there is room, and keeps step, loss and time longest", () => {
    const all =
      " 340/1000   34%  loss 0.693  1.000 bits/byte  held-out 0.750  lr 0.0006  grad 0.853  12.3k tok/s  peak 118 MiB  ETA 3m 12s";
    expect(formatProgress(full)).toBe(all);
    expect(formatProgress(full, 200)).toBe(`████████▏···············  ${all}`);
    expect(formatProgress(full, 80)).toBe(
      "███████▍··············   340/1000   34%  loss 0.693  1.000 bits/byte  ETA 3m 12s",
    );
    expect(formatProgress(full, 50)).toBe(" 340/1000  loss 0.693  1.000 bits/byte  ETA 3m 12s");
    expect(formatProgress(full, 12)).toBe(" 340/1000");
  });
});

/** A terminal or a file that keeps what was written. */
function sink(isTTY: boolean, columns = 80): ProgressStream & { text: string } {
  return {
    isTTY,
    columns,
    text: "",
    write(text) {
      this.text += text;
    },
  };
}

/** What a terminal shows after this output: carriage return and erase-line carried out. */
function rendered(text: string): string[] {
  return text.split("\n").map((line) => line.split("\r\x1b[2K").at(-1) ?? "");
}

describe("on a terminal", () => {
  test("one line is redrawn at most every 100 ms, the last state always", () => {
    let time = 0;
    const stream = sink(true);
    const bar = new ProgressBar(stream, { now: () => time });
    for (let step = 1; step <= 100; step++, time += 10) bar.update({ step, totalSteps: 100, loss: 1 });
    bar.finish();
    expect(stream.text.split("\x1b[2K").length).toBe(11);
    const lines = rendered(stream.text);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("100/100  100%  loss 1.000");
    expect(lines[1]).toBe("");
  });

  test("a logged line stands above the bar, and no line is as wide as the terminal", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 120 }),
        fc.array(states, { minLength: 1, maxLength: 5 }),
        (columns, all) => {
          const stream = sink(true, columns);
          const bar = new ProgressBar(stream, { redrawMs: 0 });
          for (const state of all) {
            bar.update(state);
            bar.log("note");
          }
          bar.finish();
          const lines = rendered(stream.text);
          expect(lines.slice(0, all.length)).toEqual(all.map(() => "note"));
          expect([...(lines[all.length] ?? "")].length).toBeLessThan(columns);
        },
      ),
    );
  });
});

describe("in a file or a pipe", () => {
  test("there are plain lines at multiples of N steps, at the first and last, and after T seconds", () => {
    let time = 0;
    const stream = sink(false);
    const bar = new ProgressBar(stream, { everySteps: 10, everyMs: 30_000, now: () => time });
    for (let step = 1; step <= 35; step++) {
      time += step === 25 ? 40_000 : 1000;
      bar.update({ step, totalSteps: 35 });
    }
    bar.finish();
    expect(stream.text.replaceAll("\n", "")).not.toMatch(/\p{Control}|█/u);
    const steps = stream.text
      .trimEnd()
      .split("\n")
      .map((line) => Number.parseInt(line, 10));
    expect(steps).toEqual([1, 10, 20, 25, 30, 35]);
  });

  test("a run that ends early shows its last step", () => {
    const stream = sink(false);
    const bar = new ProgressBar(stream);
    for (let step = 1; step <= 7; step++) bar.update({ step, totalSteps: 100 });
    bar.finish();
    bar.finish();
    expect(stream.text).toMatch(/^ {2}1\/100.*\n {2}7\/100.*\n$/);
  });

  test("nothing is written before the first step", () => {
    const stream = sink(false);
    new ProgressBar(stream).finish();
    expect(stream.text).toBe("");
  });
});

test("the time remaining is the mean step time of this run times the steps left, also after resuming", () => {
  let time = 5000;
  const stream = sink(false);
  const bar = new ProgressBar(stream, { everySteps: 1, now: () => time });
  for (let step = 501; step <= 511; step++, time += 2000) bar.update({ step, totalSteps: 1000 });
  expect(stream.text.split("\n")[0]).not.toContain("ETA");
  // 489 steps of 2 s
  expect(stream.text).toContain("511/1000   51%  ETA 16m 18s");
});
