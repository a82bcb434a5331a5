import { expectNoLeak, type Shape, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect } from "vitest";
import { FlowSequence, HaarDownsampling, haarDownsample, haarUpsample } from "../src/index.ts";
import { engine, expectSame, floats, isFound, words } from "./fixtures.ts";
import { build, type Name, recipes, type Subject } from "./layers.ts";
import { pass } from "./pass.ts";
import { logAbsoluteDeterminant } from "./slogdet.ts";

// Properties that `npm test` checks a few times and `npm run test:deep` a thousand.

/** Uses a layer and frees it; fails where anything stays alive. */
export function using(
  name: Name,
  [shape, seed, dtype]: readonly [Shape, number, "f32"?],
  f: (subject: Subject) => void,
): void {
  expectNoLeak(engine, () => {
    const subject = build(name, shape, seed, dtype);
    try {
      engine.scope(() => f(subject));
    } finally {
      subject.layer.dispose();
    }
  });
}

export const farthest = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().itemSync();
/** f64 rounding, through a dozen layers of scales up to e². */
export const bound: number = 2 ** 20 * Number.EPSILON;

/** What every layer promises, by title. */
export const promises: Readonly<Record<string, (name: Name) => fc.IPropertyWithHooks<[[Shape, number]]>>> = {
  "inverse undoes forward, and the log-determinants cancel": (name) =>
    fc.property(recipes(name), (recipe) =>
      using(name, recipe, ({ layer, batch }) => {
        const x = batch(3);
        const y = layer.call(x);
        const back = layer.inverse(y.value);
        expect(back.value.shape).toEqual(x.shape);
        expect(y.logDeterminant.shape).toEqual([3]);
        expect(farthest(back.value, x)).toBeLessThan(bound);
        expect(farthest(back.logDeterminant, y.logDeterminant.neg())).toBeLessThan(bound);
      }),
    ),

  "log-determinants are those of the Jacobian, by differences": (name) =>
    fc.property(recipes(name), (recipe) =>
      using(name, recipe, ({ layer, shape, batch }) => {
        const x = batch(1);
        const dim = x.size;
        const h = 1e-5;
        // A row of the batch for each element moved up, and one for each moved down.
        const moves = Float64Array.from({ length: 2 * dim * dim }, (_, i) => {
          const [row, column] = [Math.floor(i / dim), i % dim];
          return row % dim === column ? (row < dim ? h : -h) : 0;
        });
        const moved = x.add(tensor(moves, { shape: [2 * dim, ...shape], engine }));
        const values = layer.call(moved).value.reshape([2, dim, dim]);
        const difference = values.narrow(0, 0, 1).sub(values.narrow(0, 1, 1));
        const jacobian = difference.mul(1 / (2 * h)).dataSync() as Float64Array;
        // Differences are good to h² and to roundoff / h.
        const found = layer.call(x).logDeterminant.itemSync();
        expect(Math.abs(found - logAbsoluteDeterminant(jacobian, dim))).toBeLessThan(1e-7);
      }),
    ),

  "retraced, it gives what it gave, from an input it rebuilt": (name) =>
    fc.property(recipes(name), (recipe) =>
      using(name, recipe, ({ layer, batch }) => {
        const x = batch(2);
        const y = engine.noGrad(() => layer.call(x));
        const { value, logDeterminant, leaves } = layer.retrace(y.value);
        const [first, ...rest] = leaves.map((leaf) => leaf.detach());
        expect(farthest(first!.concat(rest, 1), x)).toBeLessThan(bound);
        expect(farthest(value, y.value)).toBeLessThan(bound);
        expect(farthest(logDeterminant, y.logDeterminant)).toBeLessThan(bound);
        for (const leaf of leaves) expect(leaf.requiresGrad).toBe(true);
      }),
    ),
};

export const exactNames = ["additive coupling", "permutation", "space to depth", "haar"] as const;

/** Fixed-point streams come back bit for bit, whatever words they hold. */
export const exactInverse = (name: (typeof exactNames)[number]): fc.IPropertyWithHooks<[[Shape, number]]> =>
  fc.property(recipes(name), ([shape, seed]) =>
    using(name, [shape, seed, "f32"], ({ layer }) => {
      const x = words([3, ...shape], seed);
      const { value, logDeterminant } = layer.call(x);
      expect(value.dtype).toBe("i32");
      expect([...logDeterminant.dataSync()]).toEqual([0, 0, 0]);
      expectSame(layer.inverse(value).value, x, "stream");
    }),
  );

const side = fc.integer({ min: 1, max: 4 });

/** Images of any words: each direction of integer Haar undoes the other. */
export const haarIsBijective = (): fc.IPropertyWithHooks<[[number, number, number, number], number]> =>
  fc.property(fc.tuple(side, side, side, side), fc.nat({ max: 1e6 }), ([b, c, h, w], seed) =>
    engine.scope(() => {
      const [x, y] = [words([b, c, 2 * h, 2 * w], seed), words([b, 4 * c, h, w], seed + 1)];
      expectSame(haarUpsample(haarDownsample(x)), x, "image");
      expectSame(haarDownsample(haarUpsample(y)), y, "bands");
    }),
  );

/** Layers that take and give vectors of 5 channels. */
const vectorNames: readonly Name[] = [
  "act norm",
  "affine coupling",
  "additive coupling",
  "permutation",
  "householder",
  "invertible linear",
  "sequence",
  "stored sequence",
];

/** Float sequences of any layers: rebuilt gradients are those of ordinary backpropagation, up to rounding. */
export const rebuiltIsClose = (): fc.IPropertyWithHooks<[Name[], number, "value" | "log-determinant" | "both"]> =>
  fc.property(
    fc.array(fc.constantFrom(...vectorNames), { minLength: 1, maxLength: 6 }),
    fc.nat({ max: 1e6 }),
    fc.constantFrom("value", "log-determinant", "both"),
    (names, seed, reads) =>
      expectNoLeak(engine, () => {
        const layers = names.map((name, i) => build(name, [5], seed + i).layer);
        const flow = new FlowSequence({ layers });
        const x = floats([4, 5], seed);
        const [rebuilt, stored] = [pass(flow, "rebuild", x, { reads }), pass(flow, "store", x, { reads })];
        rebuilt.forEach((found, i) => {
          const expected = stored[i];
          // A node of many layers may hand on zeros where single ones hand on nothing.
          if (!isFound(found) || !isFound(expected)) {
            for (const g of [found, expected]) expect(g?.some((v) => v !== 0) ?? false).toBe(false);
            return;
          }
          const scale = Math.max(1, ...expected.map(Math.abs));
          found.forEach((v, k) => {
            expect(Math.abs(v - expected[k]!)).toBeLessThan(2 ** 22 * Number.EPSILON * scale);
          });
        });
        flow.dispose();
        x.dispose();
      }),
  );

/** Fixed-point sequences: rebuilt gradients are those of ordinary backpropagation, bit for bit. */
export const rebuiltIsExact = (): fc.IPropertyWithHooks<[("additive coupling" | "permutation")[], number, boolean]> =>
  fc.property(
    fc.array(fc.constantFrom("additive coupling", "permutation"), { minLength: 1, maxLength: 8 }),
    fc.nat({ max: 1e6 }),
    fc.boolean(),
    (names, seed, isImage) =>
      expectNoLeak(engine, () => {
        const inner = names.map((name, i) => build(name, isImage ? [4, 1, 2] : [4], seed + i, "f32").layer);
        const flow = new FlowSequence({ layers: isImage ? [new HaarDownsampling(), ...inner] : inner, engine });
        const x = floats(isImage ? [3, 1, 2, 4] : [3, 4], seed, "f32");
        const streams = { enter: (t: Tensor) => t.quantise(20), leave: (t: Tensor) => t.dequantise(20) };
        const [rebuilt, stored] = [pass(flow, "rebuild", x, streams), pass(flow, "store", x, streams)];
        rebuilt.forEach((found, i) => {
          expect(found === undefined).toBe(stored[i] === undefined);
          if (found !== undefined) expectBitEqual(found, stored[i]!, `result ${i}`);
        });
        flow.dispose();
        x.dispose();
      }),
  );
