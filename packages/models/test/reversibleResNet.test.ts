import type { ReversibleMode } from "@revnet-zero/reversible";
import { expectNoLeak, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReversibleResNet } from "../src/index.ts";
import { engine, key } from "./fixtures.ts";
import { drawImages, imagePass } from "./imageFixtures.ts";
import { resNetBijection, resNetTwins, withRandomHead } from "./properties.ts";

const small = { imageSize: 4, channels: 2, numClasses: 3, stageBlocks: [1, 2], width: 2, key, engine } as const;

describe("any reversible ResNet", () => {
  test("has the loss, gradients and running statistics of its stored twin, bit for bit, in every mode that promises it", () => {
    fc.assert(resNetTwins(), runs(12));
  });

  test("is a bijection between stem and head: any words come back, and the running statistics stay", () => {
    fc.assert(resNetBijection(), runs(20));
  });
});

describe("a reversible ResNet", () => {
  test("computes nearly the same with float streams, and their drift is small", () => {
    const model = withRandomHead(new ReversibleResNet({ ...small, fractionBits: 24 }));
    const exact = imagePass(model, { batch: 3, seed: 1 }, "exact");
    for (const mode of ["float", "store-float"] satisfies ReversibleMode[])
      for (const [name, values] of imagePass(model, { batch: 3, seed: 1 }, mode)) {
        const [found, wanted] = [Array.from(values!), Array.from(exact.get(name)!)];
        const error = Math.hypot(...wanted.map((v, i) => v - found[i]!));
        // Where a rectifier is at its corner, a rounding decides: a thousandth of the gradient at most.
        expect(error, `${mode}: ${name}`).toBeLessThanOrEqual(1e-3 * Math.hypot(...wanted) + 1e-6);
      }
    const float = engine.scope(() => {
      model.reversibility = "float";
      const x = [1, 2].map((seed) => randomNormal([2, 2, 4, 4], { key: randomKey(seed), engine })) as [Tensor, Tensor];
      const back = engine.noGrad(() => model.stages.inverse(...(model.stages.call(...x) as [Tensor, Tensor])));
      return Math.max(...x.map((v, i) => back[i]!.sub(v).abs().max().itemSync()));
    });
    expect(float).toBeLessThan(1e-4);
    model.dispose();
  });

  test("keeps a pair of streams a stage for backward, whatever the depth of the stage", () => {
    const peak = (blocks: number): number => {
      const model = withRandomHead(new ReversibleResNet({ ...small, imageSize: 8, stageBlocks: [blocks, blocks] }));
      imagePass(model, { batch: 2, seed: 1 });
      engine.ledger.resetPeak();
      imagePass(model, { batch: 2, seed: 1 });
      const { activationBytes } = engine.memory();
      model.dispose();
      return activationBytes;
    };
    // The counters of a stage's health have a row of 12 bytes a half-step; they are parameters' bytes, not activations.
    expect(peak(12)).toBe(peak(3));
  });

  test("gives every parameter a gradient, and a step leaves nothing behind", async () => {
    for (const norm of ["group", "batch"] as const) {
      const model = withRandomHead(new ReversibleResNet({ ...small, norm }));
      await expectNoLeak(engine, () => {
        for (const [name, values] of imagePass(model, { batch: 5, seed: 2 }))
          expect(
            values?.some((v) => v !== 0),
            name,
          ).toBe(true);
      });
      model.dispose();
    }
  });

  test("predicts with running statistics: an image's class does not depend on its neighbours", () => {
    engine.scope(() => {
      const model = withRandomHead(new ReversibleResNet({ ...small, norm: "batch" }));
      const [images] = drawImages(model, { batch: 4, seed: 3 });
      model.call(images);
      const logits = model.inEval(() => model.call(images)).narrow(0, 1, 2);
      const alone = model.inEval(() => model.call(images.narrow(0, 1, 2)));
      // The order of a product's sums follows from its shape, and so from the number of images: a few roundings.
      expect(alone.sub(logits).abs().max().itemSync()).toBeLessThan(1e-5);
      model.dispose();
    });
  });

  test("refuses sizes that do not fit together", () => {
    const refusal = (change: object): string => errorText(() => new ReversibleResNet({ ...small, ...change } as never));
    expect(refusal({ imageSize: 6, stageBlocks: [1, 1, 1] })).toMatchInlineSnapshot(`
      "ValueError: ReversibleResNet: images of 6 x 6 cannot be halved 2 times
        hint: use sides that divide by 4, or fewer stages"
    `);
    expect(refusal({ stageBlocks: [] })).toMatchInlineSnapshot(`
      "ValueError: ReversibleResNet: stageBlocks is empty
        hint: say how many blocks each stage has"
    `);
    expect(refusal({ stageBlocks: [1, 0] })).toMatchInlineSnapshot(`
      "ValueError: ReversibleResNet: stageBlocks[1] is 0
        hint: use a positive integer"
    `);
    expect(refusal({ hidden: [4] })).toMatchInlineSnapshot(`
      "ValueError: ReversibleResNet: hidden has 1 entries for 2 stages
        hint: name the channels inside the branches of each stage"
    `);
    expect(refusal({ norm: "layer" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleResNet: norm is "layer"
        hint: use one of group, batch"
    `);
    const model = new ReversibleResNet(small);
    expect(
      errorText(() => engine.scope(() => model.call(tensor(new Float32Array(16), { shape: [1, 1, 4, 4], engine })))),
    ).toMatchInlineSnapshot(`
      "ShapeError: ReversibleResNet: needs images [batch, 2, 4, 4] f32, got [1, 1, 4, 4] f32
        hint: unsqueeze(0) a single image; build the model for the images' size"
    `);
    model.dispose();
  });
});
