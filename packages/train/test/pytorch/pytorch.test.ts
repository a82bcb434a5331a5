import { ReversibleTransformer } from "@revnet-zero/models";
import { Attention, Embedding, LayerNorm, LearnedPositions, Linear, MLP, type Module, RMSNorm } from "@revnet-zero/nn";
import { AdamW, clipByGlobalNorm, SGD } from "@revnet-zero/optim";
import { randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type Arithmetic, engine, key, models, plainOptions } from "./models.ts";
import { type Oracle, openOracle, parametersOf, relativeError, toOracle } from "./oracle.ts";

/**
 * Ours in float32 against PyTorch in float64, on shared weights: ‖ours - wanted‖ / ‖wanted‖ of every tensor is less than
 * `most`, and less than `times` the largest such error that PyTorch itself makes in float32. A layer rounds a few times, 6e-8
 * each; the roundings of three add up to several 1e-6 in the gradients, PyTorch's as well.
 */
const bounds: { readonly [K in Arithmetic | "layer"]: { readonly most: number; readonly times: number } } = {
  layer: { most: 1e-6, times: 4 },
  float: { most: 1e-5, times: 4 },
  // Streams in steps of 2^-20 beside values near 1: a rounding is 5e-7, eight times float32's.
  grid: { most: 1e-4, times: 64 },
};
/** Where PyTorch happens to be exact: a few roundings of float32. */
const fewRoundings = 3e-7;

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
  readonly tensors: Record<string, number[]>;
  readonly ownError: number;
}

/**
 * Every tensor of an answer, which names them all, against ours. Gradients may be off by the drift besides: the relative error
 * of the activations that they were computed from.
 */
function compare(
  module: Module,
  results: Record<string, Tensor>,
  { tensors, ownError }: Answer,
  kind: keyof typeof bounds,
  drift = 0,
): void {
  const { most, times } = bounds[kind];
  const bound = Math.min(most, Math.max(times * ownError, fewRoundings));
  const gradients = [...module.namedParameters()].map(([name, p]) => [name, p.grad!] as const);
  expect(Object.keys(tensors).sort()).toEqual([...Object.keys(results), ...gradients.map(([name]) => name)].sort());
  const errorOf = (name: string, found: Tensor): number => relativeError(found.dataSync(), tensors[name]!);
  for (const [name, found] of Object.entries(results)) expect(errorOf(name, found), name).toBeLessThan(bound);
  for (const [name, found] of gradients) expect(errorOf(name, found), name).toBeLessThan(bound + drift);
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
    { numHeads: 3, window: 3 },
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
    const wanted = await oracle.ask<Answer>({
      do: "layer",
      name,
      options,
      parameters: parametersOf(layer),
      input: toOracle(x),
      cotangent: toOracle(cotangent),
    });
    compare(layer, { output: y, ...(x.grad === undefined ? {} : { input: x.grad }) }, wanted, "layer");
    layer.dispose();
    scope.close();
  });
});

describe("logits, loss and all gradients are PyTorch's", () => {
  test.each(models)("of %s %o", async (name, options, make, kind) => {
    const scope = engine.openScope("model");
    const model = make(options);
    shake(model);
    const tokens = words([3, 10], 17, 1);
    // A few targets that do not count.
    const targets = words([3, 10], 20, 2).sub(3).maximum(-1);
    expect(targets.dataSync().filter((t) => t < 0).length).toBeGreaterThan(1);
    const logits = model.call(tokens);
    const loss = model.loss(tokens, targets);
    loss.backward();
    const wanted = await oracle.ask<Answer>({
      do: "model",
      name,
      options: { ...plainOptions(model), ...options },
      parameters: parametersOf(model),
      tokens: toOracle(tokens),
      targets: toOracle(targets),
    });
    const isRebuilt = model instanceof ReversibleTransformer && model.reversibility === "float";
    const drift = isRebuilt ? await model.sequence.drift() : 0;
    expect(drift).toBeLessThan(1e-4);
    compare(model, { logits, loss }, wanted, kind, drift);
    model.dispose();
    scope.close();
  });
});

// Float streams that are stored take the steps of those that are rebuilt.
const trained = models.filter(
  ([, options]) => !("reversibility" in options && options.reversibility === "store-float"),
);

describe("the losses of 50 AdamW steps are PyTorch's to 1e-3", () => {
  test.each(trained)("of %s %o", async (name, options, make) => {
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
    let clipped = 0;
    const losses = batches.map(({ tokens, targets }) =>
      engine.scope(() => {
        const loss = model.loss(tokens, targets);
        loss.backward();
        const { factor } = clipByGlobalNorm(all, optimizer.clipNorm);
        if (factor!.itemSync() < 1) clipped++;
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
    expect(clipped).toBeGreaterThan(0);
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
