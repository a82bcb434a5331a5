import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type LanguageModel, ReversibleTransformer, Transformer, type TransformerOptions } from "@revnet-zero/models";
import { Attention, Embedding, LayerNorm, LearnedPositions, Linear, MLP, type Module, RMSNorm } from "@revnet-zero/nn";
import { AdamW, clipByGlobalNorm, SGD } from "@revnet-zero/optim";
import { Engine, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type Oracle, openOracle, parametersOf, relativeError, toOracle } from "./oracle.ts";

// Ours against PyTorch's on shared weights. Both round in float32, in other orders: a relative error of a few 1e-7 a layer.
const tolerance = 1e-5;
/** Streams in steps of 2^-20 beside values near 1: a rounding of 5e-7 at every half-step, an order above float32's. */
const gridTolerance = 1e-4;

const engine = new Engine(new CpuBackend());
const key = randomKey(3);
const opened = await openOracle();
let oracle: Oracle;

beforeEach((context) => {
  if (typeof opened === "string") context.skip(opened);
  else oracle = opened;
});
afterAll(() => {
  if (typeof opened !== "string") opened.stop();
});

/** All parameters drawn anew: the initial biases of zero and weights of one would hide mistakes. */
function shake(module: Module): void {
  let seed = 100;
  engine.noGrad(() =>
    engine.scope(() => {
      for (const p of module.parameters()) {
        const noise = randomNormal(p.shape, { key: randomKey(seed++), engine }).mul(0.3);
        p.assign(p.add(noise));
      }
    }),
  );
}

const words = (shape: readonly number[], below: number, seed: number): Tensor => {
  const random = new Random(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Int32Array.from({ length: size }, () => random.integer(0, below - 1)),
    { shape, engine },
  );
};

interface Answer {
  readonly gradients: Record<string, number[]>;
}

/** Every gradient of a module against the oracle's. */
function compareGradients(module: Module, { gradients }: Answer, most: number): void {
  const names = [...module.namedParameters().keys()];
  expect(
    Object.keys(gradients)
      .filter((name) => name !== "input")
      .sort(),
  ).toEqual(names.sort());
  for (const [name, p] of module.namedParameters())
    expect(relativeError(p.grad!.dataSync(), gradients[name]!), `gradient of ${name}`).toBeLessThan(most);
  module.zeroGrad();
}

const layers: readonly (readonly [string, string, object, () => Module, number | undefined])[] = [
  ["Linear", "Linear", {}, () => new Linear({ in: 12, out: 7, key, engine }), undefined],
  ["Linear without bias", "Linear", {}, () => new Linear({ in: 12, out: 7, bias: false, key, engine }), undefined],
  ["Embedding", "Embedding", {}, () => new Embedding({ vocabulary: 9, dim: 12, key, engine }), 9],
  [
    "LearnedPositions",
    "LearnedPositions",
    {},
    () => new LearnedPositions({ length: 9, dim: 12, key, engine }),
    undefined,
  ],
  ["LayerNorm", "LayerNorm", {}, () => new LayerNorm({ dim: 12, engine }), undefined],
  ["RMSNorm", "RMSNorm", {}, () => new RMSNorm({ dim: 12, engine }), undefined],
  ...[
    { numHeads: 3 },
    { numHeads: 3, isCausal: false },
    { numHeads: 6, numKeyValueHeads: 2 },
    { numHeads: 3, rotary: true },
    { numHeads: 6, numKeyValueHeads: 3, rotary: true },
  ].map(
    (options) =>
      [
        `Attention ${JSON.stringify(options)}`,
        "Attention",
        options,
        () => new Attention({ dim: 12, key, engine, ...options }),
        undefined,
      ] as const,
  ),
  ...(["gelu", "geglu", "swiglu"] as const).map(
    (kind) => [`MLP ${kind}`, "MLP", { kind }, () => new MLP({ dim: 12, kind, key, engine }), undefined] as const,
  ),
];

describe("output and all gradients are PyTorch's", () => {
  test.each(layers)("of %s", async (_, name, options, make, vocabulary) => {
    const scope = engine.openScope("layer");
    const layer = make();
    shake(layer);
    const shape = [2, 8];
    const x =
      vocabulary === undefined
        ? randomNormal([...shape, 12], { key: randomKey(1), engine }).requireGrad()
        : words(shape, vocabulary, 5);
    const y = layer.call(x);
    const cotangent = randomNormal(y.shape, { key: randomKey(2), engine });
    y.mul(cotangent).sum().backward();
    const wanted = await oracle.ask<Answer & { output: number[] }>({
      do: "layer",
      name,
      options,
      parameters: parametersOf(layer),
      input: toOracle(x),
      cotangent: toOracle(cotangent),
    });
    expect(relativeError(y.dataSync(), wanted.output), "output").toBeLessThan(tolerance);
    if (x.grad !== undefined)
      expect(relativeError(x.grad.dataSync(), wanted.gradients.input!), "gradient of the input").toBeLessThan(
        tolerance,
      );
    compareGradients(layer, wanted, tolerance);
    layer.dispose();
    scope.close();
  });
});

const base: Omit<TransformerOptions, "key"> = {
  vocabSize: 17,
  numLayers: 3,
  dModel: 16,
  numHeads: 4,
  maxSeqLen: 12,
  engine,
};
const defaults = { mlp: "gelu", norm: "layer", positions: "rotary", tieEmbeddings: true } as const;
const modern = { mlp: "swiglu", norm: "rms", positions: "learned", tieEmbeddings: false, numKeyValueHeads: 2 } as const;

const models: readonly (readonly [string, object, (o: object) => LanguageModel, number])[] = [
  ["Transformer", defaults, (o) => new Transformer({ ...base, ...o, key }), tolerance],
  ["Transformer", modern, (o) => new Transformer({ ...base, ...o, key }), tolerance],
  ...(["float", "exact"] as const).flatMap((reversibility) =>
    [
      { ...defaults, streams: "full" },
      { ...modern, streams: "split" },
    ].map(
      (options) =>
        [
          "ReversibleTransformer",
          { ...options, reversibility },
          (o: object) => new ReversibleTransformer({ ...base, ...o, key }),
          reversibility === "float" ? tolerance : gridTolerance,
        ] as const,
    ),
  ),
];

const plainOptions = ({ options }: LanguageModel): object => {
  const { engine: _, key: __, ...rest } = options;
  return rest;
};

describe("logits, loss and all gradients are PyTorch's", () => {
  test.each(models)("of %s %o", async (name, options, make, most) => {
    const scope = engine.openScope("model");
    const model = make(options);
    shake(model);
    const [tokens, targets] = [words([3, 10], 17, 1), words([3, 10], 17, 2)];
    const logits = model.call(tokens);
    const loss = model.loss(tokens, targets);
    loss.backward();
    const wanted = await oracle.ask<Answer & { logits: number[]; loss: number }>({
      do: "model",
      name,
      options: { ...plainOptions(model), ...options },
      parameters: parametersOf(model),
      tokens: toOracle(tokens),
      targets: toOracle(targets),
    });
    expect(relativeError(logits.dataSync(), wanted.logits), "logits").toBeLessThan(most);
    expect(Math.abs(loss.itemSync() / wanted.loss - 1), "loss").toBeLessThan(most);
    compareGradients(model, wanted, most);
    model.dispose();
    scope.close();
  });
});

describe("the losses of 50 AdamW steps are PyTorch's to 1e-3", () => {
  test.each(models)("of %s %o", async (name, options, make) => {
    const scope = engine.openScope("training");
    const model = make(options);
    const parameters = parametersOf(model);
    const optimizer = { learningRate: 0.01, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1, clipNorm: 1 } as const;
    const [beta1, beta2] = optimizer.betas;
    const all = model.parameters();
    const adamw = new AdamW(
      [
        { parameters: all.filter((p) => p.rank >= 2), weightDecay: optimizer.weightDecay },
        { parameters: all.filter((p) => p.rank < 2), weightDecay: 0 },
      ],
      { learningRate: optimizer.learningRate, beta1, beta2, eps: optimizer.eps },
    );
    // Tokens that repeat with a period of 3: something to learn.
    const batches = Array.from({ length: 50 }, (_, step) => {
      const rows = Array.from({ length: 4 }, (__, row) =>
        Array.from({ length: 11 }, (___, t) => ((t % 3) * 5 + row + (step % 4)) % 17),
      );
      const part = (from: number): Tensor =>
        tensor(Int32Array.from(rows.flatMap((r) => r.slice(from, from + 10))), { shape: [4, 10], engine });
      return { tokens: part(0), targets: part(1) };
    });
    const losses = batches.map(({ tokens, targets }) =>
      engine.scope(() => {
        const loss = model.loss(tokens, targets);
        loss.backward();
        const { factor } = clipByGlobalNorm(all, optimizer.clipNorm);
        adamw.step({ gradientFactor: factor });
        adamw.zeroGrad();
        return loss.itemSync();
      }),
    );
    const wanted = await oracle.ask<{ losses: number[] }>({
      do: "train",
      name,
      options: { ...plainOptions(model), ...options },
      parameters,
      optimizer,
      batches: batches.map(({ tokens, targets }) => ({ tokens: toOracle(tokens), targets: toOracle(targets) })),
    });
    expect(losses).toHaveLength(50);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
    const apart = losses.map((loss, i) => Math.abs(loss - wanted.losses[i]!));
    expect(Math.max(...apart)).toBeLessThan(1e-3);
    adamw.dispose();
    model.dispose();
    scope.close();
  });
});

const optimizers = [
  ["AdamW", { learningRate: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 }, AdamW],
  ["SGD", { learningRate: 0.1, momentum: 0, nesterov: false, weightDecay: 0.01 }, SGD],
  ["SGD", { learningRate: 0.1, momentum: 0.9, nesterov: false, weightDecay: 0 }, SGD],
  ["SGD", { learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }, SGD],
] as const;

describe("a parameter after 10 steps is PyTorch's", () => {
  test.each(optimizers)("with %s %o", async (name, options, Optimizer) => {
    const scope = engine.openScope("optimizer");
    const parameter = randomNormal([5, 4], { key: randomKey(1), engine }).requireGrad();
    const gradients = Array.from({ length: 10 }, (_, i) => randomNormal([5, 4], { key: randomKey(10 + i), engine }));
    const request = {
      do: "optimize",
      name,
      options,
      parameter: toOracle(parameter),
      gradients: gradients.map(toOracle),
    };
    // biome-ignore lint/suspicious/noExplicitAny: each takes its own options.
    const optimizer = new Optimizer([parameter], options as any);
    for (const g of gradients) {
      parameter.grad = g;
      optimizer.step();
    }
    parameter.grad = undefined;
    const wanted = await oracle.ask<{ parameter: number[] }>(request);
    expect(relativeError(parameter.dataSync(), wanted.parameter)).toBeLessThan(1e-6);
    optimizer.dispose();
    scope.close();
  });
});
