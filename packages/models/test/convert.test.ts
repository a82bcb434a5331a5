import { randomKey, randomNormal, type Tensor, type TypedArray, tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, Random } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import {
  alignToOriginal,
  type ConversionCouplingName,
  conversionCouplings,
  convertToReversible,
  gpt2FromWeights,
  type LanguageModel,
  measureConversion,
  Transformer,
  VisionTransformer,
  vitFromWeights,
} from "../src/index.ts";
import { draw, engine, key, passOf, small } from "./fixtures.ts";
import { imagePass } from "./imageFixtures.ts";

const couplings = Object.keys(conversionCouplings) as ConversionCouplingName[];
const approximate = couplings.filter((coupling) => coupling !== "bdia");
const image = { imageSize: 4, channels: 1, numClasses: 5, patchSize: 2, pooling: "mean" } as const;
const layers = { numLayers: 2, dModel: 8, numHeads: 2, key, engine } as const;

/** Parameters as after some training: all random, branches a tenth of the stream. */
function trained<M extends Transformer | VisionTransformer>(model: M): M {
  let n = 0;
  for (const p of model.parameters())
    engine.scope(() => {
      const noise = randomNormal(p.shape, { key: randomKey(n++), engine, std: 0.1 });
      p.assign(p.rank === 1 ? p.add(noise) : noise);
    });
  return model;
}

describe.each(approximate)("a model converted by the %s coupling", (coupling) => {
  test("leaves the original alone, and is near it the nearer, the smaller the branches", async () => {
    const changes: number[] = [];
    for (const size of [1, 0.1]) {
      const model = trained(new Transformer({ ...small, dropout: 0.3 }));
      for (const { attention, mlp } of model.blocks)
        for (const { weight, bias } of [attention.attention.out, mlp.mlp.down] as const)
          for (const p of [weight, bias!]) engine.scope(() => p.assign(p.mul(size)));
      const before = model.parameters().map((p) => p.dataSync().slice() as TypedArray);
      const converted = convertToReversible(model, { coupling, gamma: 0.05 });
      const [tokens] = draw(11, { batch: 4, time: 8, seed: 1 });
      const report = await measureConversion(model, converted, tokens);
      changes.push(report.relativeChange);
      expect(report.isBitEqual).toBe(false);
      if (size < 1) expect(report.agreement).toBeGreaterThan(0.9);
      passOf(converted, { batch: 2, time: 4, seed: 2 });
      for (const [i, p] of model.parameters().entries()) expectBitEqual(p.dataSync() as TypedArray, before[i]!);
      tokens.dispose();
      converted.dispose();
      model.dispose();
    }
    expect(changes[1]!).toBeLessThan(changes[0]! / 5);
  });

  test("computes what the original does after alignment, on inputs it has not seen, at a fraction of the change", async () => {
    const model = trained(new Transformer(small));
    // Branches as large as the stream: what the coupling changes shows.
    for (const { attention, mlp } of model.blocks)
      for (const { weight } of [attention.attention.out, mlp.mlp.down])
        engine.scope(() => weight.assign(weight.mul(8)));
    const converted = convertToReversible(model, { coupling, gamma: 0.3 });
    const [unseen] = draw(11, { batch: 16, time: 8, seed: 99 });
    const before = await measureConversion(model, converted, unseen);
    const losses = await alignToOriginal(converted, model, {
      inputsAt: (step) => draw(11, { batch: 8, time: 8, seed: step })[0],
      steps: 150,
      learningRate: 5e-3,
    });
    const after = await measureConversion(model, converted, unseen);
    expect(losses).toHaveLength(150);
    expect(after.relativeChange).toBeLessThan(before.relativeChange / 2);
    expect(after.agreement).toBeGreaterThanOrEqual(before.agreement);
    unseen.dispose();
    converted.dispose();
    model.dispose();
  });
});

describe.each(couplings)("a model converted by the %s coupling", (coupling) => {
  test("has the gradients of stored backpropagation, bit for bit, dropout included", () => {
    const model = trained(new Transformer({ ...small, dropout: 0.3, positions: "learned" }));
    const converted = convertToReversible(model, { coupling });
    const exact = passOf(converted as LanguageModel, { batch: 3, time: 6, seed: 4 });
    converted.reversibility = "store";
    const stored = passOf(converted as LanguageModel, { batch: 3, time: 6, seed: 4 });
    for (const [name, values] of stored) expectBitEqual(exact.get(name) as TypedArray, values as TypedArray, name);
    converted.dispose();
    model.dispose();

    const vision = trained(new VisionTransformer({ ...image, ...layers, dropout: 0.3 }));
    const convertedVision = convertToReversible(vision, { coupling });
    const [found, wanted] = (["exact", "store"] as const).map((mode) =>
      imagePass(convertedVision, { batch: 3, seed: 5 }, mode),
    );
    for (const [name, values] of wanted!) expectBitEqual(found!.get(name) as TypedArray, values as TypedArray, name);
    convertedVision.dispose();
    vision.dispose();
  });
});

test.each([12, 16, 20])(
  "bdia with %i bits infers what the original does, up to one rounding a branch",
  async (fractionBits) => {
    const model = trained(new Transformer({ ...small, numLayers: 4, dropout: 0.3 }));
    const converted = convertToReversible(model, { coupling: "bdia", fractionBits });
    const [tokens] = draw(11, { batch: 4, time: 8, seed: 1 });
    const { largestChange, relativeChange } = await measureConversion(model, converted, tokens);
    // Nine roundings of half a step; what a branch or the head makes of them is below 32 for these weights.
    expect(largestChange).toBeLessThan(9 * 32 * 2 ** -(fractionBits + 1));
    expect(relativeChange).toBeGreaterThan(0);
    tokens.dispose();
    converted.dispose();
    model.dispose();
  },
);

test("the same model is bit-equal to itself", async () => {
  const model = trained(new VisionTransformer({ ...image, ...layers }));
  const images = randomNormal([3, 1, 4, 4], { key, engine });
  const report = await measureConversion(model, model, images);
  expect(report).toEqual({ relativeChange: 0, largestChange: 0, agreement: 1, isBitEqual: true });
  images.dispose();
  model.dispose();
});

/** Random tensors by name. */
function randomWeights(shapes: Readonly<Record<string, readonly number[]>>, seed = 5): Map<string, Tensor> {
  const random = new Random(seed);
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const size = shape.reduce((n, s) => n * s, 1);
      return [
        name,
        tensor(
          Float32Array.from({ length: size }, () => random.between(-0.5, 0.5)),
          { shape, engine },
        ),
      ];
    }),
  );
}

const gpt2Shapes: Record<string, readonly number[]> = {
  "wte.weight": [11, 8],
  "wpe.weight": [6, 8],
  ...Object.fromEntries(
    [0, 1].flatMap((n) =>
      Object.entries({
        "ln_1.weight": [8],
        "ln_1.bias": [8],
        "attn.bias": [1, 1, 6, 6],
        "attn.c_attn.weight": [8, 24],
        "attn.c_attn.bias": [24],
        "attn.c_proj.weight": [8, 8],
        "attn.c_proj.bias": [8],
        "ln_2.weight": [8],
        "ln_2.bias": [8],
        "mlp.c_fc.weight": [8, 20],
        "mlp.c_fc.bias": [20],
        "mlp.c_proj.weight": [20, 8],
        "mlp.c_proj.bias": [8],
      }).map(([name, shape]) => [`h.${n}.${name}`, shape]),
    ),
  ),
  "ln_f.weight": [8],
  "ln_f.bias": [8],
};

describe("weights of GPT-2", () => {
  const logitsOf = (weights: Map<string, Tensor>): TypedArray => {
    const model = gpt2FromWeights(weights, { numHeads: 2 });
    const logits = engine.scope(() => model.call(draw(11, { batch: 2, time: 6, seed: 1 })[0]).dataSync());
    model.dispose();
    return logits as TypedArray;
  };

  test("give the model that their shapes say, with or without a prefix; a tied head may be there", () => {
    const weights = randomWeights(gpt2Shapes);
    const model = gpt2FromWeights(weights, { numHeads: 2 });
    const { vocabSize, maxSeqLen, numLayers, dModel, mlpRatio, tieEmbeddings } = model.options;
    expect([vocabSize, maxSeqLen, numLayers, dModel, mlpRatio, tieEmbeddings]).toEqual([11, 6, 2, 8, 2.5, true]);
    model.dispose();
    const wanted = logitsOf(weights);
    expectBitEqual(logitsOf(new Map([...weights].map(([name, t]) => [`transformer.${name}`, t]))), wanted);
    expectBitEqual(logitsOf(new Map([...weights, ["lm_head.weight", weights.get("wte.weight")!]])), wanted);
    const other = randomWeights({ "lm_head.weight": [11, 8] }, 6);
    expect(logitsOf(new Map([...weights, ...other]))).not.toEqual(wanted);
  });

  test("that do not fit are refused with everything that is wrong", () => {
    const { "h.1.ln_2.bias": _, ...rest } = gpt2Shapes;
    const wrong = { ...rest, "h.0.mlp.c_proj.weight": [8, 20], "h.0.extra": [2] };
    expect(errorText(() => gpt2FromWeights(randomWeights(wrong), { numHeads: 2 }))).toMatchInlineSnapshot(`
      "ValueError: gpt2FromWeights: the weights do not fit:
          mismatched: h.0.mlp.c_proj.weight is [8, 20] f32, expected [20, 8]
          missing: h.1.ln_2.bias [8]
          unexpected: h.0.extra [2] f32
        hint: check that the file is of this architecture and complete"
    `);
    expect(errorText(() => gpt2FromWeights(randomWeights(gpt2Shapes)))).toMatchInlineSnapshot(`
      "ValueError: gpt2FromWeights: a width of 8 has no heads of 64
        hint: pass numHeads"
    `);
    expect(errorText(() => gpt2FromWeights(randomWeights({ "wpe.weight": [2, 8] })))).toMatchInlineSnapshot(`
      "ValueError: gpt2FromWeights: there is no wte.weight
        hint: give the weights in the names that gpt2FromWeights describes"
    `);
  });
});

const vitShapes: Record<string, readonly number[]> = {
  "vit.embeddings.cls_token": [1, 1, 8],
  "vit.embeddings.position_embeddings": [1, 5, 8],
  "vit.embeddings.patch_embeddings.projection.weight": [8, 3, 2, 2],
  "vit.embeddings.patch_embeddings.projection.bias": [8],
  ...Object.fromEntries(
    [0, 1].flatMap((n) =>
      Object.entries({
        "layernorm_before.weight": [8],
        "layernorm_before.bias": [8],
        ...Object.fromEntries(
          ["query", "key", "value"].flatMap((part) => [
            [`attention.attention.${part}.weight`, [8, 8]],
            [`attention.attention.${part}.bias`, [8]],
          ]),
        ),
        "attention.output.dense.weight": [8, 8],
        "attention.output.dense.bias": [8],
        "layernorm_after.weight": [8],
        "layernorm_after.bias": [8],
        "intermediate.dense.weight": [20, 8],
        "intermediate.dense.bias": [20],
        "output.dense.weight": [8, 20],
        "output.dense.bias": [8],
      }).map(([name, shape]) => [`vit.encoder.layer.${n}.${name}`, shape as readonly number[]]),
    ),
  ),
  "vit.layernorm.weight": [8],
  "vit.layernorm.bias": [8],
  "classifier.weight": [4, 8],
  "classifier.bias": [4],
};

describe("weights of ViT", () => {
  test("give the model that their shapes say; without a classifier there is a fresh one", () => {
    const weights = randomWeights(vitShapes);
    const model = vitFromWeights(weights, { numHeads: 2 });
    const { imageSize, channels, patchSize, numLayers, dModel, numClasses, mlp, normEps } = model.options;
    expect([imageSize, channels, patchSize, numLayers, dModel, numClasses, mlp, normEps]).toEqual([
      4,
      3,
      2,
      2,
      8,
      4,
      "geluExact",
      1e-12,
    ]);
    model.dispose();
    const bare = [...weights].filter(([name]) => !name.startsWith("classifier"));
    const fresh = vitFromWeights(new Map(bare.map(([name, t]) => [name.slice(4), t])), { numHeads: 2, numClasses: 7 });
    expect(fresh.head.linear.weight.shape).toEqual([7, 8]);
    fresh.dispose();
  });

  test("that do not fit are refused with everything that is wrong", () => {
    const { "vit.encoder.layer.1.attention.attention.key.bias": _, ...rest } = vitShapes;
    expect(errorText(() => vitFromWeights(randomWeights(rest), { numHeads: 2 }))).toMatchInlineSnapshot(`
      "ValueError: vitFromWeights: the weights do not fit:
          missing: encoder.layer.1.attention.attention.key.bias [8]
        hint: check that the file is of this architecture and complete"
    `);
    expect(errorText(() => vitFromWeights(randomWeights(gpt2Shapes), { numHeads: 2 }))).toMatchInlineSnapshot(`
      "ValueError: vitFromWeights: there is no embeddings.patch_embeddings.projection.weight
        hint: give the weights in the names that vitFromWeights describes"
    `);
  });
});

test("what cannot be converted, and couplings that there are not, are refused", () => {
  const model = new Transformer(small);
  expect(errorText(() => convertToReversible(model, { coupling: "magic" as never }))).toMatchInlineSnapshot(`
    "ValueError: convertToReversible: coupling is "magic"
      hint: use one of bdia, additive, midpoint, momentum"
  `);
  expect(
    errorText(() => convertToReversible(model, { coupling: "bdia", reversibility: "float" })),
  ).toMatchInlineSnapshot(`
    "ValueError: convertToReversible: bdia has no mode "float"
      hint: use exact, store or checkpoint"
  `);
  expect(errorText(() => convertToReversible({} as never, { coupling: "additive" }))).toMatchInlineSnapshot(`
    "ValueError: convertToReversible: cannot convert a Object
      hint: give a Transformer or a VisionTransformer; gpt2FromWeights and vitFromWeights make them from files"
  `);
  model.dispose();
});
