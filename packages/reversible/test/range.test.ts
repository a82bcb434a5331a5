import { foldKey, ones, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReversibleSequence } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const key = randomKey(1);

const sequenceOf = (options: Partial<ConstructorParameters<typeof ReversibleSequence>[0]> = {}): ReversibleSequence =>
  new ReversibleSequence({ blocks: [{ F: (x) => x.sin(), G: (x) => x.cos().mul(3) }], engine, ...options });

/** Whether the largest of what was measured, four times as large, fits into `magnitudeBits` bits, and twice that does not. */
function expectFits(largest: number, fractionBits: number, magnitudeBits: number): void {
  expect(4 * largest * 2 ** fractionBits).toBeLessThanOrEqual(2 ** magnitudeBits);
  if (fractionBits < Math.min(30, magnitudeBits))
    expect(8 * largest * 2 ** fractionBits).toBeGreaterThan(2 ** magnitudeBits);
}

describe("the binary point", () => {
  test("leaves four times the range that the streams have on their way", () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 1e-6, max: 500, noNaN: true }), (seed, size) =>
        engine.scope(() => {
          for (const [mode, bits] of [
            ["exact", 31],
            ["exact16", 15],
            ["grid-f32", 24],
          ] as const) {
            const sequence = sequenceOf({ mode, fractionBits: "auto" });
            const x = randomNormal([4, 5], { key: randomKey(seed), engine }).mul(size);
            const y1 = x.add(x.sin());
            const y2 = x.add(y1.cos().mul(3));
            const largest = Math.max(...[x, y1, y2].map((t) => t.abs().max().itemSync()));
            engine.noGrad(() => sequence.call(x, x));
            expect(sequence.range.itemSync()).toBe(Math.fround(largest));
            expectFits(largest, sequence.fractionBits, bits);
            sequence.dispose();
          }
        }),
      ),
      runs(20),
    );
  });

  test("of int16 streams is one for each channel, where the width is named", () => {
    engine.scope(() => {
      const sequence = sequenceOf({
        mode: "exact16",
        channels: 3,
        blocks: [{ F: (x) => x.mul(0), G: (x) => x.mul(0) }],
      });
      const x = ones([2, 3], { engine }).mul(tensor([100, 1, 0.01], { engine }));
      engine.noGrad(() => sequence.call(x, x));
      expect([...sequence.range.dataSync()]).toEqual([100, 1, Math.fround(0.01)]);
      expect([...sequence.scales.dataSync()]).toEqual([2 ** 6, 2 ** 13, 2 ** 15]);
      sequence.dispose();
    });
  });

  test("is measured by itself in the first pass, once, and without changing the keys that it draws", () => {
    engine.scope(() => {
      const make = (): ReversibleSequence =>
        sequenceOf({
          mode: "exact16",
          blocks: [{ F: (x) => x.dropout(0.5, engine.nextKey("F")), G: (x) => x.tanh() }],
        });
      const [first, second] = [make(), make()];
      const x = randomNormal([4, 5], { key, engine });
      const [a] = engine.withKey(key, () => first.call(x, x)) as [Tensor];
      const bits = first.fractionBits;
      const [larger] = engine.withKey(key, () => first.call(x.mul(100), x)) as [Tensor];
      expect(first.fractionBits).toBe(bits);
      larger.dispose();
      second.range.assign(first.range);
      const [b] = engine.withKey(key, () => second.call(x, x)) as [Tensor];
      expectBitEqual(b.dataSync(), a.dataSync());
      for (const s of [first, second]) s.dispose();
    });
  });

  test("goes with the parameters where it was measured, and is nobody's business elsewhere", async () => {
    const scope = engine.openScope();
    const [from, to] = [sequenceOf({ mode: "exact16" }), sequenceOf({ mode: "exact16" })];
    const x = randomNormal([4, 5], { key: foldKey(key, 2), engine });
    await from.calibrate(x, x.mul(20));
    to.loadStateDict(from.stateDict());
    expect(to.fractionBits).toBe(from.fractionBits);
    const [a, b] = [from, to].map((s) => engine.noGrad(() => s.call(x, x)[0]!.dataSync()));
    expectBitEqual(b!, a!);
    expect([...sequenceOf().stateDict().keys()]).toEqual([]);
    expect([...from.stateDict().keys()]).toEqual(["range"]);
    for (const s of [from, to]) s.dispose();
    scope.close();
  });

  test("that is not known yet is an error, and so are streams without end", () => {
    const sequence = sequenceOf({ mode: "exact16" });
    expect(errorText(() => sequence.fractionBits)).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: the binary point follows from the streams' range, which was not measured yet
        hint: await sequence.calibrate(...streams) first, or name fractionBits"
    `);
    const x = ones([2], { engine }).mul(Number.POSITIVE_INFINITY);
    expect(errorText(() => engine.scope(() => sequence.call(x, x)))).toMatchInlineSnapshot(`
      "ValueError: calibrate: the streams reach NaN
        hint: look at the model's inputs and initial weights"
    `);
    x.dispose();
    sequence.dispose();
  });
});

test("a grid stream that leaves its range is an error that says so, and an inverse that needs more than outputs another", () => {
  const scope = engine.openScope();
  const x = ones([2, 3], { engine });
  const grid = sequenceOf({ mode: "grid-f32", fractionBits: 22, blocks: [{ F: (t) => t.mul(5), G: (t) => t }] });
  expect(errorText(() => grid.call(x, x))).toMatchInlineSnapshot(`
    "ValueError: reversible: 6 elements of a grid stream left ±2^2, where float32 sums are exact
      hint: use fewer fractionBits, or mode exact where the backend has integers"
  `);
  const lossless = sequenceOf({ mode: "lossless" });
  expect(errorText(() => lossless.inverse(x, x))).toMatchInlineSnapshot(`
    "ValueError: inverse: these blocks on lossless f32 streams are undone with what their forward pass remembered, not from outputs alone
      hint: const { streams, inverse } = sequence.invertible(...); inverse()"
  `);
  for (const s of [grid, lossless]) s.dispose();
  scope.close();
});
