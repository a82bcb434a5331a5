import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  broadcastShapes,
  contiguous,
  isContiguous,
  type Layout,
  normalizeAxes,
  numel,
  reshapeLayout,
  type Shape,
  sameShape,
} from "../src/index.ts";

/** Storage position of every element in row-major order. */
function positions({ shape, strides, offset }: Layout): number[] {
  let found = [offset];
  shape.forEach((size, d) => {
    found = found.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * strides[d]!));
  });
  return found;
}

const size = fc.integer({ min: 0, max: 4 });
const layouts: fc.Arbitrary<Layout> = fc
  .array(
    fc.tuple(
      fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 4 }) }, size),
      fc.integer({ min: -6, max: 12 }),
    ),
    { maxLength: 4 },
  )
  .chain((axes) =>
    fc.oneof(
      fc.constant({ shape: axes.map(([s]) => s), strides: axes.map(([, t]) => t), offset: 100 }),
      // Views of a row-major array, where merging axes is often possible.
      fc
        .shuffledSubarray(
          axes.map((_, d) => d),
          { minLength: axes.length },
        )
        .map((order) => {
          const whole = contiguous(axes.map(([s]) => s));
          const isPlain = axes.every(([, t]) => t % 2 === 0);
          const view = isPlain ? whole.shape.map((_, d) => d) : order;
          return { shape: view.map((d) => whole.shape[d]!), strides: view.map((d) => whole.strides[d]!), offset: 3 };
        }),
    ),
  );

/** All shapes with `n` elements and up to four axes, ones included. */
function factorings(n: number, rank: number): number[][] {
  if (rank === 0) return n === 1 ? [[]] : [];
  const out: number[][] = [];
  for (let s = 1; s <= n; s++) if (n % s === 0) out.push(...factorings(n / s, rank - 1).map((rest) => [s, ...rest]));
  return out;
}

/** Whether any strides at all show these positions in this shape: read off the first element along each axis. */
function bruteForce(found: readonly number[], shape: Shape): boolean {
  const steps = shape.map((s, d) => (s === 1 ? 1 : found[numel(shape.slice(d + 1))]! - found[0]!));
  const seen = positions({ shape, strides: steps, offset: found[0]! });
  return seen.every((at, i) => at === found[i]);
}

describe("reshape without a copy", () => {
  test("happens exactly where some strides can show it, and shows the same elements", () => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 0, max: 4 }), fc.nat(), (layout, rank, pick) => {
        const n = numel(layout.shape);
        if (n === 0) return;
        const choices = factorings(n, rank);
        if (choices.length === 0) return;
        const shape = choices[pick % choices.length]!;
        const before = positions(layout);
        const seen = reshapeLayout(layout, shape);
        expect(seen !== undefined).toBe(bruteForce(before, shape));
        if (seen !== undefined) {
          expect(seen.shape).toEqual(shape);
          expect(positions(seen)).toEqual(before);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("an empty tensor takes any empty shape", () => {
    expect(reshapeLayout({ shape: [3, 0], strides: [5, 1], offset: 2 }, [0, 7])).toEqual({
      shape: [0, 7],
      strides: [7, 1],
      offset: 2,
    });
  });
});

test("contiguous means: the elements lie in row-major order without gaps", () => {
  fc.assert(
    fc.property(layouts, (layout) => {
      const isRow = positions(layout).every((at, i) => at === layout.offset + i);
      expect(isContiguous(layout)).toBe(isRow);
    }),
    { numRuns: 500 },
  );
});

describe("broadcasting", () => {
  const shape = fc.array(fc.constantFrom(0, 1, 2, 3), { maxLength: 4 });
  test("is what NumPy's rule gives, symmetric, and refuses exactly what clashes", () => {
    fc.assert(
      fc.property(shape, shape, (a, b) => {
        const rank = Math.max(a.length, b.length);
        const pad = (s: Shape): number[] => [...new Array(rank - s.length).fill(1), ...s];
        const [x, y] = [pad(a), pad(b)];
        const clashes = x.some((s, d) => s !== y[d] && s !== 1 && y[d] !== 1);
        if (clashes) expect(() => broadcastShapes("test", a, b)).toThrow("cannot broadcast");
        else {
          const met = broadcastShapes("test", a, b);
          expect(met).toEqual(x.map((s, d) => (s === 1 ? y[d] : s)));
          expect(broadcastShapes("test", b, a)).toEqual(met);
        }
      }),
    );
  });
  test("sameShape is equality", () => {
    expect(sameShape([1, 2], [1, 2])).toBe(true);
    expect(sameShape([1], [1, 1])).toBe(false);
  });
});

describe("axes", () => {
  test("negative ones count from the end; duplicates and strangers are refused", () => {
    expect(normalizeAxes("t", [-1, 0], 3)).toEqual([0, 2]);
    expect(normalizeAxes("t", undefined, 2)).toEqual([0, 1]);
    expect(() => normalizeAxes("t", [0, -3], 3)).toThrowErrorMatchingInlineSnapshot(
      `
      [ValueError: t: axis named twice in [0, 0]
        hint: name each axis once]
    `,
    );
    expect(() => normalizeAxes("t", 3, 3)).toThrowErrorMatchingInlineSnapshot(`
      [ValueError: t: axis 3 does not exist in a tensor of rank 3
        hint: use -3..2]
    `);
    expect(() => normalizeAxes("t", 0.5, 3)).toThrow("axis 0.5 does not exist");
  });
});
