import { tensor } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { ReversibleTransformer, type ReversibleTransformerOptions, Transformer } from "../src/index.ts";
import { engine, small } from "./fixtures.ts";

const reversible = (options: Partial<ReversibleTransformerOptions>) => () =>
  new ReversibleTransformer({ ...small, ...options } as ReversibleTransformerOptions);

describe("options that make no model are refused", () => {
  test.each([
    ["no layers", reversible({ numLayers: 0 })],
    ["half a head", reversible({ numHeads: 1.5 })],
    ["a width that does not divide into heads", reversible({ dModel: 9 })],
    ["key heads that do not divide the heads", reversible({ numHeads: 4, numKeyValueHeads: 3 })],
    ["rotary positions of an odd head", reversible({ dModel: 6, numHeads: 2 })],
    ["an odd width to split", reversible({ dModel: 7, streams: "split" })],
    ["a split width that does not divide into heads", reversible({ dModel: 8, numHeads: 8, streams: "split" })],
    ["an unknown mode", reversible({ reversibility: "magic" as never })],
    ["too many fraction bits", reversible({ fractionBits: 31 })],
    ["a dropout of 1", reversible({ dropout: 1 })],
    ["no layers in the ordinary model", () => new Transformer({ ...small, numLayers: 0 })],
  ])("%s", (_, make) => {
    expect(errorText(make)).toMatchSnapshot();
  });
});

describe("tokens that the model cannot read are refused", () => {
  const model = new Transformer(small);
  const call = (values: Int32Array | Float32Array, shape: readonly number[]) => () =>
    engine.scope(() => model.call(tensor(values, { shape, engine })));

  test.each([
    ["of one axis", call(new Int32Array(3), [3])],
    ["of floats", call(new Float32Array(3), [1, 3])],
    ["longer than maxSeqLen", call(new Int32Array(9), [1, 9])],
    ["outside of the vocabulary", call(Int32Array.from([1, 11]), [1, 2])],
  ])("%s", (_, run) => {
    expect(errorText(run)).toMatchSnapshot();
  });
});
