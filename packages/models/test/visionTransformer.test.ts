import { reversibleModes } from "@revnet-zero/reversible";
import { expectNoLeak, type Tensor, tensor, zeros } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ImageClassifier, ReversibleVisionTransformer, VisionTransformer } from "../src/index.ts";
import { engine, key } from "./fixtures.ts";
import { drawImages, imagePass } from "./imageFixtures.ts";
import { visionTwins, withRandomHead } from "./properties.ts";

const small = {
  imageSize: [6, 4],
  channels: 2,
  numClasses: 3,
  patchSize: 2,
  numLayers: 2,
  dModel: 8,
  numHeads: 2,
  key,
  engine,
} as const;

const models: readonly (readonly [string, () => ImageClassifier])[] = [
  ["VisionTransformer", () => new VisionTransformer(small)],
  ...reversibleModes.map((reversibility): [string, () => ImageClassifier] => [
    `ReversibleVisionTransformer, ${reversibility}`,
    () => new ReversibleVisionTransformer({ ...small, reversibility }),
  ]),
];

describe.each(models)("%s", (_, make) => {
  test("has the smoothed cross-entropy of its logits as loss; negative labels do not count", () => {
    engine.scope(() => {
      const model = withRandomHead(make() as VisionTransformer);
      const [images, labels] = drawImages(model, { batch: 7, seed: 4 });
      const logits = model.call(images);
      expect([...logits.shape, logits.dtype]).toEqual([7, 3, "f32"]);
      const [values, wanted] = [logits.dataSync(), labels.dataSync()];
      for (const labelSmoothing of [0, 0.3]) {
        let [total, count] = [0, 0];
        wanted.forEach((label, row) => {
          if (label < 0) return;
          const x = Array.from(values.subarray(3 * row, 3 * row + 3));
          const top = Math.log(x.reduce((sum, v) => sum + Math.exp(v), 0));
          x.forEach((v, c) => {
            total += (top - v) * ((c === label ? 1 - labelSmoothing : 0) + labelSmoothing / 3);
          });
          count++;
        });
        expect(count).toBeLessThan(7);
        expect(model.loss(images, labels, { labelSmoothing }).itemSync()).toBeCloseTo(total / count, 5);
      }
      expect(model.loss(images, labels.mul(0).sub(1)).itemSync()).toBe(0);
      model.dispose();
    });
  });

  test("predicts the largest logit, without dropout and without a record", () => {
    engine.scope(() => {
      const model = withRandomHead(make() as VisionTransformer);
      const [images] = drawImages(model, { batch: 5, seed: 8 });
      const found = model.predict(images);
      const rows = model.eval().call(images);
      expect(found.requiresGrad).toBe(false);
      expect([...found.dataSync()]).toEqual([...rows.argmax(-1).dataSync()]);
      model.dispose();
    });
  });

  test("gives every parameter a gradient, and a step leaves nothing behind", async () => {
    const model = withRandomHead(make() as VisionTransformer);
    await expectNoLeak(engine, () => {
      for (const [name, values] of imagePass(model, { batch: 5, seed: 2 }))
        expect(
          values?.some((v) => v !== 0),
          name,
        ).toBe(true);
    });
    model.dispose();
  });
});

test("any reversible vision transformer has the loss and gradients of its stored twin, bit for bit, in every mode that promises it", () => {
  fc.assert(visionTwins(), runs(20));
});

describe("the patch embedding", () => {
  test("is a convolution that steps by its own size, in rows from the upper left, after the class token", () => {
    engine.scope(() => {
      const model = new VisionTransformer(small);
      const { patches, classToken, positions } = model.embedding;
      const [images] = drawImages(model, { batch: 2, seed: 5 });
      const x = model.embedding.call(images).sub(positions.weight);
      const kernel = patches.weight.reshape([8, 2, 2, 2]);
      const wanted = images.conv2d(kernel, { stride: 2 }).reshape([2, 8, 6]).transpose();
      const error = x.narrow(1, 1, 6).sub(wanted).abs().max().itemSync();
      expect(error).toBeLessThan(1e-5);
      const first = x.narrow(1, 0, 1).sub(classToken!).abs().max().itemSync();
      expect(first).toBeLessThan(1e-6);
      model.dispose();
    });
  });

  test("of patches without places: their order is not seen, so every patch sees every other", () => {
    engine.scope(() => {
      const model = withRandomHead(new VisionTransformer({ ...small, pooling: "mean" }));
      const [images] = drawImages(model, { batch: 2, seed: 5 });
      const [upper, lower] = images.split([2, 4], 2) as [Tensor, Tensor];
      const turned = lower.concat([upper], 2);
      const distance = (): number => model.call(turned).sub(model.call(images)).abs().max().itemSync();
      expect(distance()).toBeGreaterThan(1e-2);
      model.embedding.positions.weight.assign(model.embedding.positions.weight.mul(0));
      expect(distance()).toBeLessThan(1e-5);
      // A causal mask would pass the test above with one patch alone: here the last one changes, and with it all logits.
      const [kept, last] = images.split([4, 2], 2) as [Tensor, Tensor];
      const changed = kept.concat([last.add(1)], 2);
      expect(model.call(changed).sub(model.call(images)).abs().min().itemSync()).toBeGreaterThan(0);
      model.dispose();
    });
  });
});

describe("refuses", () => {
  const refusal = (change: object): string =>
    errorText(() => new ReversibleVisionTransformer({ ...small, ...change } as never));

  test("sizes that do not fit together", () => {
    expect(refusal({ patchSize: 4 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleVisionTransformer: images of 6 x 4 do not divide into patches of 4 x 4
        hint: choose a patchSize that divides both sides, or pad the images"
    `);
    expect(refusal({ imageSize: 0 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleVisionTransformer: height is 0
        hint: use a positive integer"
    `);
    expect(refusal({ numHeads: 3 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleVisionTransformer: a stream of width 8 does not divide into 3 heads
        hint: make the width a multiple of numHeads"
    `);
    expect(refusal({ dModel: 7, streams: "split" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleVisionTransformer: dModel 7 does not split in two
        hint: use an even dModel"
    `);
  });

  test("words that name no choice", () => {
    expect(refusal({ pooling: "max" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleVisionTransformer: pooling is "max"
        hint: use one of class, mean"
    `);
    expect(refusal({ mlp: "relu" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleVisionTransformer: mlp is "relu"
        hint: use one of gelu, geluExact, geglu, swiglu"
    `);
  });

  test("images and labels of another shape or type", () => {
    const model = new VisionTransformer(small);
    const images = zeros([2, 2, 6, 4], { engine });
    const of = (f: () => unknown): string => errorText(() => engine.scope(f));
    expect(of(() => model.call(zeros([2, 2, 4, 6], { engine })))).toMatchInlineSnapshot(`
      "ShapeError: model: needs images [batch, 2, 6, 4] f32, got [2, 2, 4, 6] f32
        hint: unsqueeze(0) a single image; build the model for the images' size"
    `);
    expect(of(() => model.call(zeros([2, 6, 4], { engine })))).toMatchInlineSnapshot(`
      "ShapeError: model: needs images [batch, 2, 6, 4] f32, got [2, 6, 4] f32
        hint: unsqueeze(0) a single image; build the model for the images' size"
    `);
    expect(of(() => model.loss(images, tensor([0, 1, 2], { dtype: "i32", engine })))).toMatchInlineSnapshot(`
      "ShapeError: model: needs a label for each of the images [2, 2, 6, 4] f32, got [3] i32
        hint: give labels as [batch] i32"
    `);
    expect(
      of(() => model.loss(images, tensor([0, 3], { dtype: "i32", engine }), { labelSmoothing: 0 })),
    ).toMatchInlineSnapshot(`
      "ValueError: crossEntropy: target 3 at position 1 names none of 3 classes
        hint: classes count from 0, and negative targets are left out; check the vocabulary size"
    `);
    expect(
      of(() => model.loss(images, tensor([0, 1], { dtype: "i32", engine }), { labelSmoothing: 1 })),
    ).toMatchInlineSnapshot(`
      "ValueError: model: labelSmoothing is 1
        hint: use a share from 0 to below 1, say 0.1"
    `);
    model.dispose();
  });
});
