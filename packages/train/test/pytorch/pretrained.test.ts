import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeSafetensors, encodeSafetensors } from "@revnet-zero/io";
import { convertToReversible, gpt2FromWeights, vitFromWeights } from "@revnet-zero/models";
import { randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fromEntries, toEntries } from "../../src/index.ts";
import { engine } from "./models.ts";
import { type Oracle, openOracle, relativeError, toOracle } from "./oracle.ts";

// Weights as a user has them: a safetensors file in another library's names, read, and held against that library's own way of
// computing with these names. Random and small: nothing can be downloaded in a test.
const opened = await openOracle();
let oracle: Oracle;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "revnet-pretrained-"));
});
beforeEach((context) => {
  if (typeof opened === "string") context.skip(opened);
  else oracle = opened;
});
afterAll(async () => {
  if (typeof opened !== "string") opened.stop();
  await rm(folder, { recursive: true });
});

type Shapes = Readonly<Record<string, readonly number[]>>;
const [width, hidden, layers, heads] = [16, 40, 3, 4];
const perLayer = (prefix: string, shapes: Shapes): Shapes =>
  Object.fromEntries(
    Array.from({ length: layers }, (_, n) =>
      Object.entries(shapes).map(([name, shape]) => [`${prefix}.${n}.${name}`, shape] as const),
    ).flat(),
  );
const norm = (name: string): Shapes => ({ [`${name}.weight`]: [width], [`${name}.bias`]: [width] });
const conv1d = (name: string, inputs: number, outputs: number): Shapes => ({
  [`${name}.weight`]: [inputs, outputs],
  [`${name}.bias`]: [outputs],
});
const dense = (name: string, inputs: number, outputs: number): Shapes => ({
  [`${name}.weight`]: [outputs, inputs],
  [`${name}.bias`]: [outputs],
});

const gpt2Shapes: Shapes = {
  "wte.weight": [19, width],
  "wpe.weight": [10, width],
  ...perLayer("h", {
    ...norm("ln_1"),
    ...conv1d("attn.c_attn", width, 3 * width),
    ...conv1d("attn.c_proj", width, width),
    ...norm("ln_2"),
    ...conv1d("mlp.c_fc", width, hidden),
    ...conv1d("mlp.c_proj", hidden, width),
  }),
  ...norm("ln_f"),
};
const vitShapes: Shapes = {
  "vit.embeddings.cls_token": [1, 1, width],
  "vit.embeddings.position_embeddings": [1, 10, width],
  "vit.embeddings.patch_embeddings.projection.weight": [width, 3, 4, 4],
  "vit.embeddings.patch_embeddings.projection.bias": [width],
  ...perLayer("vit.encoder.layer", {
    ...norm("layernorm_before"),
    ...dense("attention.attention.query", width, width),
    ...dense("attention.attention.key", width, width),
    ...dense("attention.attention.value", width, width),
    ...dense("attention.output.dense", width, width),
    ...norm("layernorm_after"),
    ...dense("intermediate.dense", width, hidden),
    ...dense("output.dense", hidden, width),
  }),
  ...norm("vit.layernorm"),
  ...dense("classifier", width, 7),
};

/** Writes random weights of the given shapes as a safetensors file, and reads it. */
async function throughFile(name: string, shapes: Shapes): Promise<Map<string, Tensor>> {
  const random = new Random(11);
  const weights = new Map(
    Object.entries(shapes).map(([key, shape]) => {
      const size = shape.reduce((n, s) => n * s, 1);
      return [
        key,
        tensor(
          Float32Array.from({ length: size }, () => random.between(-0.6, 0.6)),
          { shape, engine },
        ),
      ];
    }),
  );
  const path = join(folder, `${name}.safetensors`);
  await writeFile(path, encodeSafetensors(await toEntries(weights)));
  return fromEntries(decodeSafetensors(await readFile(path), path).tensors, engine);
}

const named = (weights: ReadonlyMap<string, Tensor>): object =>
  Object.fromEntries([...weights].map(([name, t]) => [name, toOracle(t)]));

interface Answer {
  readonly tensors: { readonly output: number[] };
  readonly ownError: number;
}

describe("ours in float32 computes what PyTorch does in float64, within three times PyTorch's own float32 error, for a file of", () => {
  test("GPT-2", async () => {
    const weights = await throughFile("gpt2", gpt2Shapes);
    const model = gpt2FromWeights(weights, { numHeads: heads });
    const random = new Random(5);
    const tokens = tensor(
      Int32Array.from({ length: 20 }, () => random.integer(0, 18)),
      { shape: [2, 10], engine },
    );
    const options = { numLayers: layers, numHeads: heads };
    const { tensors, ownError } = await oracle.ask<Answer>({
      do: "forward",
      name: "GPT2",
      parameters: named(weights),
      input: toOracle(tokens),
      options,
    });
    const error = relativeError(model.call(tokens).dataSync(), tensors.output);
    expect(error).toBeLessThan(Math.max(3 * ownError, 1e-6));
    // And what is made reversible from it, on the grid of 20 bits.
    const converted = convertToReversible(model, { coupling: "bdia" }).eval();
    expect(relativeError(converted.call(tokens).dataSync(), tensors.output)).toBeLessThan(2e-5);
  });

  test("ViT", async () => {
    const weights = await throughFile("vit", vitShapes);
    const model = vitFromWeights(weights, { numHeads: heads });
    const images = randomNormal([2, 3, 12, 12], { key: randomKey(3), engine });
    const { tensors, ownError } = await oracle.ask<Answer>({
      do: "forward",
      name: "ViT",
      parameters: named(weights),
      input: toOracle(images),
      options: { numLayers: layers, numHeads: heads },
    });
    const error = relativeError(model.call(images).dataSync(), tensors.output);
    expect(error).toBeLessThan(Math.max(3 * ownError, 1e-6));
    const converted = convertToReversible(model, { coupling: "bdia" }).eval();
    expect(relativeError(converted.call(images).dataSync(), tensors.output)).toBeLessThan(2e-5);
  });
});
