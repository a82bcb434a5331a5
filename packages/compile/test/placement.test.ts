import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile } from "../src/index.ts";
import { type Lifetime, place } from "../src/placement.ts";

const lifetimes: fc.Arbitrary<Lifetime<number>[]> = fc
  .array(fc.record({ bytes: fc.nat({ max: 5000 }), first: fc.nat({ max: 100 }), length: fc.nat({ max: 60 }) }), {
    maxLength: 60,
  })
  .map((list) => list.map(({ bytes, first, length }, of) => ({ of, bytes, first, last: first + length })));

const rounded = (bytes: number): number => Math.ceil(bytes / 512) * 512;

/** What is needed at once, at most. */
const atOnce = (list: readonly Lifetime<number>[]): number =>
  Math.max(
    0,
    ...list.map(({ first }) =>
      list.filter((b) => b.first <= first && b.last >= first).reduce((n, b) => n + rounded(b.bytes), 0),
    ),
  );

describe("buffers in one memory", () => {
  test("do not overlap while they are needed, cross no boundary, and begin at multiples of 512", () => {
    fc.assert(
      fc.property(lifetimes, fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 3 }), (list, pieces) => {
        let end = 0;
        const boundaries = pieces.map((n) => (end += 512 * n));
        const { offsets, bytes } = place(list, boundaries);
        const placed = list.map((b) => ({
          ...b,
          start: offsets.get(b.of)!,
          end: offsets.get(b.of)! + rounded(b.bytes),
        }));
        for (const [i, a] of placed.entries()) {
          expect(a.start % 512).toBe(0);
          expect(a.end).toBeLessThanOrEqual(bytes);
          for (const b of boundaries) expect(a.start < b && a.end > b).toBe(false);
          for (const b of placed.slice(i + 1)) {
            const isTogether = a.first <= b.last && b.first <= a.last;
            if (isTogether) expect(a.end <= b.start || b.end <= a.start || a.bytes === 0 || b.bytes === 0).toBe(true);
          }
        }
        expect(bytes).toBeGreaterThanOrEqual(atOnce(list));
      }),
      runs(150),
    );
  });

  test("of a stack of layers and back take what is needed at once", () => {
    // Kept from forward to backward, with temporaries between, as training has them.
    const layers = 50;
    const list: Lifetime<number>[] = [];
    const add = (bytes: number, first: number, last: number): void => {
      list.push({ of: list.length, bytes, first, last });
    };
    for (let n = 0; n < layers; n++) {
      const back = 2 * 4 * layers - 4 * n;
      for (const [i, bytes] of [4096, 16384, 1024].entries()) add(bytes, 4 * n + i, back + 3 - i);
      add(8192, 4 * n + 1, 4 * n + 2);
      for (const [i, bytes] of [16384, 4096].entries()) add(bytes, back + i, back + i + 2);
    }
    expect(place(list).bytes).toBeLessThan(1.02 * atOnce(list));
  });
});

test("a recording whose ops are joined needs no more than the function did", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.boolean()), { minLength: 2, maxLength: 14 }), (steps) => {
      const engine = new Engine(new CpuBackend());
      // Values die at different times, so that a join may have to keep some for longer.
      const f = (x: Tensor): Tensor => {
        let values = [x.mul(2), x.add(1)];
        for (const [a, b, isLast] of steps) {
          const next = values[a % values.length]!.mul(values[b % values.length]!).tanh();
          values = isLast ? [next, values.at(-1)!] : [...values, next];
        }
        return values.reduce((sum, v) => sum.add(v));
      };
      const recorded = compile(f);
      const peak = (): number =>
        engine.scope(() => {
          const x = tensor(new Float32Array(64), { engine });
          engine.ledger.resetPeak();
          recorded(x);
          return engine.memory().peakBytes;
        });
      const [, called, replayed] = [peak(), peak(), peak()];
      expect(recorded.reason).toBeUndefined();
      expect(replayed).toBeLessThanOrEqual(called!);
      recorded.dispose();
    }),
    runs(60),
  );
});
