import { AdamW, clipByGlobalNorm } from "@revnet-zero/optim";
import { reversibleModes, storedTwin } from "@revnet-zero/reversible";
import { expectNoLeak, randomKey, type Tensor, type TypedArray, tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, Random, rejectionText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReversibleEncoderDecoder, translate } from "../src/index.ts";
import { engine, key } from "./fixtures.ts";
import { drawPair, encoderDecoderShapes, encoderDecoderTwins, pairBatches, pairPass } from "./properties.ts";

const small = {
  sourceVocabSize: 9,
  targetVocabSize: 7,
  numEncoderLayers: 2,
  numDecoderLayers: 2,
  dModel: 8,
  numHeads: 2,
  maxSeqLen: 6,
  key,
  engine,
} as const;

describe("any encoder-decoder", () => {
  test("has the loss and gradients of its stored twin, bit for bit, the memory's of all layers included, in every mode", () => {
    fc.assert(encoderDecoderTwins(), runs(20));
  });

  test("sees the whole source and no later target token", () => {
    fc.assert(
      fc.property(encoderDecoderShapes, pairBatches, fc.nat(), (shape, batch, place) => {
        engine.scope(() => {
          const model = new ReversibleEncoderDecoder({ ...shape, dropout: 0, key, engine });
          const [source, tokens] = drawPair(model, batch);
          const logits = model.call(source, tokens);
          const { vocabSize } = model.decoderOptions;
          expect(logits.shape).toEqual([batch.batch, batch.time, vocabSize]);
          const at = place % batch.time;
          const changed = tokens.dataSync().slice() as Int32Array;
          for (let row = 0; row < batch.batch; row++) {
            const i = row * batch.time + at;
            changed[i] = (changed[i]! + 1) % vocabSize;
          }
          const others = model.call(source, tensor(changed, { shape: tokens.shape, engine }));
          const before = (t: Tensor): TypedArray => t.narrow(1, 0, at).clone().dataSync() as TypedArray;
          expectBitEqual(before(others), before(logits));
          const words = source.dataSync().slice() as Int32Array;
          for (let row = 0; row < batch.batch; row++) {
            const i = row * batch.places + (place % batch.places);
            words[i] = (words[i]! + 1) % model.encoderOptions.vocabSize;
          }
          const moved = model.call(tensor(words, { shape: source.shape, engine }), tokens).sub(logits);
          for (let t = 0; t < batch.time; t++) expect(moved.narrow(1, t, 1).abs().max().itemSync()).toBeGreaterThan(0);
          model.dispose();
        });
      }),
      runs(30),
    );
  });
});

test("gives every parameter a gradient in every mode, and a step leaves nothing behind", async () => {
  for (const mode of reversibleModes) {
    const model = new ReversibleEncoderDecoder({ ...small, reversibility: mode });
    pairPass(model, { batch: 3, places: 6, time: 6, seed: 1 }, mode);
    await expectNoLeak(engine, () => {
      for (const [name, values] of pairPass(model, { batch: 3, places: 6, time: 6, seed: 2 }, mode))
        expect(
          values?.some((v) => v !== 0),
          `${mode} (${storedTwin(mode)}): ${name}`,
        ).toBe(true);
    });
    model.dispose();
  }
});

test("memory for backward is the same at every depth, memory's gradients included", () => {
  const peak = (layers: number): number => {
    const model = new ReversibleEncoderDecoder({ ...small, numEncoderLayers: layers, numDecoderLayers: layers });
    engine.ledger.resetPeak();
    pairPass(model, { batch: 3, places: 6, time: 6, seed: 2 }, "exact");
    const { activationBytes } = engine.memory();
    model.dispose();
    return activationBytes;
  };
  expect(peak(12)).toBe(peak(3));
});

describe("a model that learned to reverse", () => {
  const [start, end, length] = [8, 9, 5];
  const model = new ReversibleEncoderDecoder({
    ...small,
    sourceVocabSize: 8,
    targetVocabSize: 10,
    numEncoderLayers: 1,
    numDecoderLayers: 1,
    dModel: 32,
    numHeads: 4,
  });
  const example = (random: Random): { source: number[]; target: number[] } => {
    const source = Array.from({ length }, () => random.integer(0, 7));
    return { source, target: [...source].reverse().concat(end) };
  };

  test("writes unseen sources backwards, greedily, and stops", async () => {
    const optimizer = new AdamW(model.parameters(), { learningRate: 4e-3, weightDecay: 0 });
    const random = new Random(1);
    const words = (rows: readonly (readonly number[])[]): Tensor => tensor(rows, { dtype: "i32", engine });
    for (let step = 0; step < 250; step++) {
      engine.scope(() => {
        const rows = Array.from({ length: 32 }, () => example(random));
        const loss = model.loss(
          words(rows.map(({ source }) => source)),
          words(rows.map(({ target }) => [start, ...target.slice(0, -1)])),
          words(rows.map(({ target }) => target)),
        );
        loss.backward();
        const { factor } = clipByGlobalNorm(model.parameters(), 1);
        optimizer.step({ gradientFactor: factor, learningRate: 4e-3 * (1 - step / 250) });
        optimizer.zeroGrad();
      });
    }
    optimizer.dispose();
    const unseen = new Random(77);
    let right = 0;
    for (let i = 0; i < 20; i++) {
      const { source, target } = example(unseen);
      const found = await translate(model, source, { start, end, length: 6 });
      if (found.join() === target.join()) right++;
    }
    expect(right).toBeGreaterThanOrEqual(18);
  });

  test("writes by key at a temperature, and leaves nothing behind", async () => {
    const options = { start, end, length: 4, temperature: 50 };
    const live = engine.memory().liveBuffers;
    const write = (seed: number) => translate(model, [1, 2, 3], { ...options, key: randomKey(seed) });
    const first = await write(1);
    expect(await write(1)).toEqual(first);
    const others = [String(await write(2)), String(await write(3))];
    expect(others).not.toEqual([String(first), String(first)]);
    expect(engine.memory().liveBuffers).toBe(live);
  });

  test("refuses what it cannot write", async () => {
    const refusal = (source: readonly number[], change: object) =>
      rejectionText(translate(model, source, { start, length: 4, ...change }));
    expect(await refusal([], {})).toMatchInlineSnapshot(`
      "ValueError: translate: the source is empty
        hint: give at least one token"
    `);
    expect(await refusal([1, 8], {})).toMatchInlineSnapshot(`
      "ValueError: translate: the source has 8 at place 1
        hint: tokens are whole numbers from 0 to 7"
    `);
    expect(await refusal([1], { start: 10 })).toMatchInlineSnapshot(`
      "ValueError: translate: start has 10 at place 0
        hint: tokens are whole numbers from 0 to 9"
    `);
    expect(await refusal([1], { length: 7 })).toMatchInlineSnapshot(`
      "ValueError: translate: length is 7
        hint: a target has at most 6 tokens: maxSeqLen"
    `);
    expect(await refusal([1], { temperature: 1 })).toMatchInlineSnapshot(`
      "ValueError: translate: a temperature of 1 draws, without a key
        hint: pass key: randomKey(seed)"
    `);
  });
});

test("sizes that do not fit are refused", () => {
  const refusal = (change: object): string =>
    errorText(() => new ReversibleEncoderDecoder({ ...small, ...change } as never));
  expect(refusal({ numHeads: 3 })).toMatchInlineSnapshot(`
    "ValueError: ReversibleEncoderDecoder: a stream of width 8 does not divide into 3 heads
      hint: make the width a multiple of numHeads"
  `);
  expect(refusal({ numDecoderLayers: 0 })).toMatchInlineSnapshot(`
    "ValueError: ReversibleEncoderDecoder: numLayers is 0
      hint: use a positive integer"
  `);
  expect(refusal({ key: undefined })).toMatchInlineSnapshot(`
    "ValueError: ReversibleEncoderDecoder: there is no key for the initial parameters
      hint: pass key: randomKey(seed)"
  `);
  const model = new ReversibleEncoderDecoder(small);
  const of = (source: readonly number[], tokens: readonly number[]): string =>
    errorText(() =>
      engine.scope(() =>
        model.call(
          tensor(new Int32Array(source[0]! * source[1]!), { shape: source, engine }),
          tensor(new Int32Array(tokens[0]! * tokens[1]!), { shape: tokens, engine }),
        ),
      ),
    );
  expect(of([2, 3], [1, 3])).toMatchInlineSnapshot(`
    "ShapeError: ReversibleEncoderDecoder: 2 sources and 1 targets
      hint: give a target for each source: [batch, places] and [batch, time]"
  `);
  expect(of([1, 7], [1, 3])).toMatchInlineSnapshot(`
    "ValueError: model: a sequence of 7 tokens is longer than maxSeqLen 6
      hint: shorten it, or build the model with a larger maxSeqLen"
  `);
  model.dispose();
});
