import { AdamW } from "@revnet-zero/optim";
import { foldKey, numel, randomKey, type Shape, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  bitsPerDimension,
  dequantisePixels,
  FlowSequence,
  glow,
  initialiseFromData,
  Logit,
  NormalizingFlow,
  quantisePixels,
  StandardLogistic,
  StandardNormal,
} from "../src/index.ts";
import { engine, expectSame, floats } from "./fixtures.ts";

/** Whole numbers below `levels`, i32. */
function pixels(shape: Shape, levels: number, seed: number): Tensor {
  const random = new Random(seed);
  return tensor(
    Int32Array.from({ length: numel(shape) }, () => random.integer(0, levels - 1)),
    { shape, engine },
  );
}

test("pixels come back from their dequantised values, which lie in (0, 1)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 2 ** 16 }), fc.nat({ max: 1e6 }), (levels, seed) =>
      engine.scope(() => {
        const x = pixels([500], levels, seed);
        const y = dequantisePixels(x, { key: randomKey(seed), levels });
        expect(y.min().itemSync()).toBeGreaterThan(0);
        expect(y.max().itemSync()).toBeLessThan(1);
        expectSame(quantisePixels(y, { levels }), x, "pixels");
      }),
    ),
    runs(100),
  );
});

test("a model of uniform values costs exactly log2(levels) bits per dimension, and what alpha wastes", () => {
  engine.scope(() => {
    const shape = [1, 4, 4];
    for (const levels of [256, 32]) {
      for (const alpha of [0.05, 1e-3]) {
        // The logistic is what logit makes of the uniform distribution on [0, 1], of which 1 - 2 alpha is used.
        const flow = new NormalizingFlow({
          transform: new FlowSequence({ layers: [new Logit({ alpha })], engine }),
          base: new StandardLogistic({ shape, engine }),
        });
        const x = dequantisePixels(pixels([20, ...shape], levels, 1), { key: randomKey(1), levels });
        const bits = bitsPerDimension(flow.logProbability(x), { shape, levels });
        const expected = Math.log2(levels) - Math.log2(1 - 2 * alpha);
        expect(bits.sub(expected).abs().max().itemSync()).toBeLessThan(1e-5);
      }
    }
  });
});

test("glow: images come back, its log-determinant is that of its inverse, its latents are vectors", () => {
  for (const [shape, scales] of [
    [[1, 4, 4], 2],
    [[3, 8, 4], 2],
    [[2, 2, 6], 1],
  ] as const) {
    engine.scope(() => {
      const transform = glow({ shape, scales, couplings: 2, hidden: 4, key: randomKey(1), engine, dtype: "f64" });
      for (const p of transform.parameters()) p.detach().assign(p.detach().add(floats(p.shape, 3).mul(0.1)));
      const x = floats([3, ...shape], 1);
      const y = transform.call(x);
      expect(y.value.shape).toEqual([3, numel(shape)]);
      const back = transform.inverse(y.value);
      expect(back.value.sub(x).abs().max().itemSync()).toBeLessThan(1e-10);
      expect(back.logDeterminant.add(y.logDeterminant).abs().max().itemSync()).toBeLessThan(1e-10);
      transform.dispose();
    });
  }
});

test("glow learns images: fewer bits than independent pixels can do, and not fewer than there are", () => {
  const shape = [1, 4, 4] as const;
  const [levels, batch] = [16, 64];
  // One uniform level for a whole image, plus or minus one: (4 + 16 log2 3) / 16 = 1.83 bits a pixel, though each pixel alone has 4.
  const images = (seed: number): Tensor => {
    const random = new Random(seed);
    const values = Array.from({ length: batch }, () => {
      const level = random.integer(1, levels - 2);
      return Array.from({ length: 16 }, () => level + random.integer(-1, 1));
    });
    return dequantisePixels(tensor(values, { shape: [batch, ...shape], dtype: "i32", engine }), {
      key: foldKey(randomKey(7), seed),
      levels,
    });
  };
  const least = (Math.log2(levels - 2) + 16 * Math.log2(3)) / 16;
  const steps = glow({ shape, scales: 2, couplings: 3, hidden: 16, key: randomKey(1), engine });
  const flow = new NormalizingFlow({ transform: steps, base: new StandardNormal({ shape: [16], engine }) });
  const bits = (seed: number): number =>
    engine.scope(() =>
      engine.noGrad(() =>
        bitsPerDimension(flow.logProbability(images(seed)), { shape, levels })
          .mean()
          .itemSync(),
      ),
    );
  engine.scope(() => {
    const first = images(0);
    initialiseFromData(flow, () => flow.logProbability(first));
  });
  using optimizer = new AdamW(flow.parameters(), { learningRate: 3e-3, weightDecay: 0 });
  for (let i = 1; i <= 150; i++) {
    engine.scope(() => flow.loss(images(i)).backward());
    optimizer.step();
    flow.zeroGrad();
  }
  const found = [1001, 1002, 1003, 1004].map(bits).reduce((a, b) => a + b) / 4;
  expect(found).toBeLessThan(2.4);
  expect(found).toBeGreaterThan(least);
  flow.dispose();
});

test("errors name what came and the call that works", () => {
  const options = { couplings: 1, hidden: 4, key: randomKey(1), engine };
  expect(errorText(() => glow({ ...options, shape: [1, 6, 4], scales: 2 }))).toContain("sides that divide by 4");
  expect(errorText(() => glow({ ...options, shape: [1, 4, 4], scales: 0 }))).toContain("scales is 0");
  expect(errorText(() => quantisePixels(floats([1], 1), { levels: 1 }))).toContain("from 2 to 65536");
});
