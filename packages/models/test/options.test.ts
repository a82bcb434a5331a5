import { tensor } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { ReversibleTransformer, type ReversibleTransformerOptions, Transformer } from "../src/index.ts";
import { engine, small } from "./fixtures.ts";

/** What is said of the small model with these options; of words and nothings too, which only JavaScript can pass. */
const refusal = (options: { readonly [K in keyof ReversibleTransformerOptions]?: unknown }): string =>
  errorText(() => new ReversibleTransformer({ ...small, ...options } as ReversibleTransformerOptions));

describe("options that make no model are refused:", () => {
  test("sizes that are no positive integers", () => {
    for (const name of ["vocabSize", "numLayers", "dModel", "numHeads", "numKeyValueHeads", "maxSeqLen"] as const)
      for (const size of [0, -2, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "8"])
        expect(refusal({ [name]: size })).toBe(
          `ValueError: ReversibleTransformer: ${name} is ${size}\n  hint: use a positive integer`,
        );
    expect(errorText(() => new Transformer({ ...small, numLayers: 0 }))).toMatchInlineSnapshot(`
      "ValueError: Transformer: numLayers is 0
        hint: use a positive integer"
    `);
  });

  test("a width that does not divide into heads, or into streams", () => {
    expect(refusal({ dModel: 9 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: a stream of width 9 does not divide into 2 heads
        hint: make the width a multiple of numHeads"
    `);
    expect(refusal({ dModel: 7, streams: "split" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: dModel 7 does not split in two
        hint: use an even dModel"
    `);
    expect(refusal({ dModel: 8, numHeads: 8, streams: "split" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: a stream of width 4 does not divide into 8 heads
        hint: make the width a multiple of numHeads"
    `);
  });

  test("heads that cannot share, or that rotary positions cannot turn", () => {
    expect(refusal({ numHeads: 4, numKeyValueHeads: 3 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: 4 heads cannot share 3 key and value heads
        hint: numKeyValueHeads must divide numHeads"
    `);
    expect(refusal({ dModel: 6, numHeads: 2 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: rotary positions turn pairs, a head has 3 coordinates
        hint: use an even width per head, or learned positions"
    `);
  });

  test("words that name no choice: they must not pass for the other one", () => {
    expect(refusal({ mlp: "relu" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: mlp is "relu"
        hint: use one of gelu, geglu, swiglu"
    `);
    expect(refusal({ norm: "batch" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: norm is "batch"
        hint: use one of layer, rms"
    `);
    expect(refusal({ positions: "alibi" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: positions is "alibi"
        hint: use one of rotary, learned"
    `);
    expect(refusal({ streams: "half" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: streams is "half"
        hint: use one of full, split"
    `);
    expect(refusal({ reversibility: "magic" })).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: unknown mode "magic"
        hint: use one of exact, exact16, grid-f32, lossless, float, store, store-exact16, store-grid-f32, store-float, checkpoint"
    `);
  });

  test("an MLP without a channel, a probability of 1, a binary point outside of the word, no key", () => {
    expect(refusal({ mlpRatio: 0.01 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: mlpRatio is 0.01: a stream of width 8 would have no channel in its MLP
        hint: use a ratio of at least 1 / 8, such as 4"
    `);
    for (const mlpRatio of [0, -4, Number.NaN, Number.POSITIVE_INFINITY])
      expect(refusal({ mlpRatio })).toContain(`ReversibleTransformer: mlpRatio is ${mlpRatio}: `);
    expect(refusal({ dropout: 1 })).toMatchInlineSnapshot(`
      "ValueError: Dropout: the dropout probability is 1
        hint: use a number in [0, 1)"
    `);
    expect(refusal({ fractionBits: 31 })).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: fractionBits is 31
        hint: use an integer from 0 to 30, or "auto""
    `);
    expect(refusal({ key: undefined })).toMatchInlineSnapshot(`
      "ValueError: ReversibleTransformer: there is no key for the initial parameters
        hint: pass key: randomKey(seed)"
    `);
  });

  test("another mode, later", () => {
    const model = new ReversibleTransformer(small);
    const change = (): void => {
      model.reversibility = "magic" as never;
    };
    expect(errorText(change)).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: unknown mode "magic"
        hint: use one of exact, exact16, grid-f32, lossless, float, store, store-exact16, store-grid-f32, store-float, checkpoint"
    `);
    expect(model.reversibility).toBe("exact");
    model.dispose();
  });
});

describe("tokens that the model cannot read are refused:", () => {
  const model = new Transformer(small);
  const refusalOf = (values: Int32Array | Float32Array, shape: readonly number[]): string =>
    errorText(() => engine.scope(() => model.call(tensor(values, { shape, engine }))));

  test("of one axis", () => {
    expect(refusalOf(new Int32Array(3), [3])).toMatchInlineSnapshot(`
      "ShapeError: model: needs tokens [batch, time] i32, got [3] i32
        hint: one row of token numbers per sequence"
    `);
  });
  test("of floats", () => {
    expect(refusalOf(new Float32Array(3), [1, 3])).toMatchInlineSnapshot(`
      "ShapeError: model: needs tokens [batch, time] i32, got [1, 3] f32
        hint: one row of token numbers per sequence"
    `);
  });
  test("longer than maxSeqLen", () => {
    expect(refusalOf(new Int32Array(9), [1, 9])).toMatchInlineSnapshot(`
      "ValueError: model: a sequence of 9 tokens is longer than maxSeqLen 8
        hint: shorten it, or build the model with a larger maxSeqLen"
    `);
  });
  test("outside of the vocabulary", () => {
    expect(refusalOf(Int32Array.from([1, 11]), [1, 2])).toMatchInlineSnapshot(`
      "ValueError: take: index 11 at position 1 names none of 11 places
        hint: indices count from 0; check the vocabulary or axis size"
    `);
    expect(refusalOf(Int32Array.from([-1, 1]), [1, 2])).toMatchInlineSnapshot(`
      "ValueError: take: index -1 at position 0 names none of 11 places
        hint: indices count from 0; check the vocabulary or axis size"
    `);
  });
});

describe("targets that do not belong to the tokens are refused:", () => {
  const model = new Transformer(small);
  const refusalOf = (values: Int32Array | Float32Array, shape: readonly number[]): string =>
    errorText(() => {
      const tokens = tensor(new Int32Array(6), { shape: [2, 3], engine });
      return engine.scope(() => model.loss(tokens, tensor(values, { shape, engine })));
    });

  test("of as many, in another shape", () => {
    expect(refusalOf(new Int32Array(6), [3, 2])).toMatchInlineSnapshot(`
      "ShapeError: model: needs a target for each of the tokens [2, 3] i32, got [3, 2] i32
        hint: give both as [batch, time] i32: a token's target is the token that comes after it"
    `);
  });
  test("of floats", () => {
    expect(refusalOf(new Float32Array(6), [2, 3])).toMatchInlineSnapshot(`
      "ShapeError: model: needs a target for each of the tokens [2, 3] i32, got [2, 3] f32
        hint: give both as [batch, time] i32: a token's target is the token that comes after it"
    `);
  });
  test("outside of the vocabulary", () => {
    expect(refusalOf(Int32Array.from([0, -1, 0, 11, 0, 0]), [2, 3])).toMatchInlineSnapshot(`
      "ValueError: crossEntropy: target 11 at position 3 names none of 11 classes
        hint: classes count from 0, and negative targets are left out; check the vocabulary size"
    `);
  });
});
