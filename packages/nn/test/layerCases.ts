import type { Activation, DType, Engine, Key, Shape, Tensor } from "@revnet-zero/tensor";
import fc from "fast-check";
import {
  Attention,
  BatchNorm,
  Conv2d,
  Embedding,
  GroupNorm,
  LayerNorm,
  LearnedPositions,
  Linear,
  MLP,
  type MLPKind,
  type Module,
  RMSNorm,
  Sequential,
} from "../src/index.ts";
import * as plain from "./formulas.ts";
import * as images from "./imageFormulas.ts";

export interface Common {
  readonly key: Key;
  readonly engine: Engine;
  readonly dtype: DType;
}

/** Parameters of a layer by name, as rows of a given width. */
export type Weights = (name: string, width: number) => number[][];

/** A layer of some configuration, its input, and its formula. */
export interface LayerCase {
  /** The configuration in words, for fast-check's report. */
  readonly text: string;
  readonly make: (common: Common) => Module;
  readonly input: Shape;
  /** Inputs are tokens below this. */
  readonly vocabulary?: number;
  readonly formula: (weights: Weights, x: readonly number[]) => number[];
}

const size = (most: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: most });
const describeConfig = (name: string, config: object): string => `${name} ${JSON.stringify(config)}`;

const linear = fc
  .record({
    in: size(9),
    out: size(9),
    bias: fc.boolean(),
    activation: fc.constantFrom<Activation>("none", "gelu", "geluExact", "silu", "relu"),
    rows: size(5),
  })
  .map(
    ({ rows, ...config }): LayerCase => ({
      text: describeConfig("Linear", config),
      make: (common) => randomBias(new Linear({ ...config, ...common })),
      input: [rows, 2, config.in],
      formula: (w, x) => {
        const bias = config.bias ? w("bias", config.out)[0] : undefined;
        return plain
          .rowsOf(x, config.in)
          .flatMap((row) => plain.linear(row, w("weight", config.in), bias))
          .map(plain.activations[config.activation]);
      },
    }),
  );

const embedding = fc.record({ vocabulary: size(7), dim: size(6) }).map(
  (config): LayerCase => ({
    text: describeConfig("Embedding", config),
    make: (common) => new Embedding({ ...config, ...common }),
    input: [3, 2],
    vocabulary: config.vocabulary,
    formula: (w, x) => x.flatMap((token) => w("weight", config.dim)[token]!),
  }),
);

const learnedPositions = fc.record({ length: size(6), dim: size(5) }).chain((config) =>
  fc.record({ time: size(config.length), batch: size(2) }).map(
    ({ time, batch }): LayerCase => ({
      text: describeConfig("LearnedPositions", config),
      make: (common) => new LearnedPositions({ ...config, ...common }),
      input: [batch, time, config.dim],
      formula: (w, x) =>
        plain.rowsOf(x, config.dim).flatMap((row, i) => row.map((v, d) => v + w("weight", config.dim)[i % time]![d]!)),
    }),
  ),
);

const layerNorm = fc.record({ dim: fc.integer({ min: 2, max: 9 }), eps: fc.constantFrom(1e-5, 0.1) }).map(
  (config): LayerCase => ({
    text: describeConfig("LayerNorm", config),
    make: (common) => randomBias(new LayerNorm({ ...config, ...common })),
    input: [2, 3, config.dim],
    formula: (w, x) =>
      plain
        .rowsOf(x, config.dim)
        .flatMap((row) => plain.layerNorm(row, w("weight", config.dim)[0]!, w("bias", config.dim)[0]!, config.eps)),
  }),
);

const rmsNorm = fc.record({ dim: size(9), eps: fc.constantFrom(1e-6, 0.1) }).map(
  (config): LayerCase => ({
    text: describeConfig("RMSNorm", config),
    make: (common) => randomBias(new RMSNorm({ ...config, ...common })),
    input: [2, 3, config.dim],
    formula: (w, x) =>
      plain.rowsOf(x, config.dim).flatMap((row) => plain.rmsNorm(row, w("weight", config.dim)[0]!, config.eps)),
  }),
);

const gates = { gelu: undefined, geluExact: undefined, geglu: plain.activations.gelu, swiglu: plain.activations.silu };

const mlp = fc
  .record({
    dim: size(5),
    hidden: size(7),
    kind: fc.constantFrom<MLPKind>("gelu", "geluExact", "geglu", "swiglu"),
    bias: fc.boolean(),
  })
  .map(
    (config): LayerCase => ({
      text: describeConfig("MLP", config),
      make: (common) => randomBias(new MLP({ ...config, ...common, layers: 2 })),
      input: [2, 3, config.dim],
      formula: (w, x) => {
        const { dim, hidden } = config;
        const apply = (name: string, input: readonly number[], from: number, to: number): number[] =>
          plain.linear(input, w(`${name}.weight`, from), config.bias ? w(`${name}.bias`, to)[0] : undefined);
        const gate = gates[config.kind];
        return plain.rowsOf(x, dim).flatMap((row) => {
          const up = apply("up", row, dim, hidden);
          const inner =
            gate === undefined
              ? up.map(plain.activations[config.kind as "gelu" | "geluExact"])
              : apply("gate", row, dim, hidden).map((g, i) => gate(g) * up[i]!);
          return apply("down", inner, hidden, dim);
        });
      },
    }),
  );

const attention = fc
  .record({
    dim: size(6),
    numKeyValueHeads: size(2),
    group: size(3),
    halfDim: size(2),
    bias: fc.boolean(),
    isCausal: fc.boolean(),
    window: fc.option(size(3), { nil: undefined }),
    rotary: fc.constantFrom(false, true, 100),
    batch: size(2),
    time: size(5),
  })
  .map(({ group, halfDim, batch, time, window, ...config }): LayerCase => {
    const { dim, numKeyValueHeads, isCausal, rotary, bias } = config;
    const headDim = 2 * halfDim;
    const numHeads = group * numKeyValueHeads;
    const seen = isCausal ? window : undefined;
    const full = { ...config, headDim, numHeads, ...(seen === undefined ? {} : { window: seen }) };
    const rotaryBase = rotary === true ? 10000 : rotary === false ? undefined : rotary;
    const shape = { numHeads, numKeyValueHeads, headDim, isCausal, window: seen, rotaryBase };
    return {
      text: describeConfig("Attention", { ...full, batch, time }),
      make: (common) => randomBias(new Attention({ ...full, ...common })),
      input: [batch, time, dim],
      formula: (w, x) => {
        const layer = (name: string, width: number): { weight: number[][]; bias: number[] | undefined } => ({
          weight: w(`${name}.weight`, width),
          bias: bias ? w(`${name}.bias`, 1).flat() : undefined,
        });
        const sequences = plain.rowsOf(x, time * dim).map((sequence) => plain.rowsOf(sequence, dim));
        return sequences.flatMap((s) =>
          plain.selfAttention(s, layer("qkv", dim), layer("out", numHeads * headDim), shape).flat(),
        );
      },
    };
  });

const sequential = fc.record({ dim: fc.integer({ min: 2, max: 6 }), out: size(4) }).map(
  ({ dim, out }): LayerCase => ({
    text: describeConfig("Sequential", { dim, out }),
    make: (common) =>
      new Sequential(
        new RMSNorm({ dim, ...common }),
        new Linear({ in: dim, out: 3, activation: "silu", ...common }),
        new Linear({ in: 3, out, ...common }),
      ),
    input: [4, dim],
    formula: (w, x) =>
      plain.rowsOf(x, dim).flatMap((row) => {
        const normed = plain.rmsNorm(row, w("layers.0.weight", dim)[0]!, 1e-6);
        const inner = plain.linear(normed, w("layers.1.weight", dim), w("layers.1.bias", 3)[0]);
        return plain.linear(inner.map(plain.activations.silu), w("layers.2.weight", 3), w("layers.2.bias", out)[0]);
      }),
  }),
);

const conv2d = fc
  .record({
    in: size(3),
    out: size(3),
    kernelSize: size(3),
    stride: size(2),
    padding: fc.option(fc.nat({ max: 2 }), { nil: undefined }),
    bias: fc.boolean(),
    batch: size(2),
    height: fc.integer({ min: 3, max: 5 }),
    width: fc.integer({ min: 3, max: 5 }),
  })
  .map(({ batch, height, width, padding, ...rest }): LayerCase => {
    const config = padding === undefined ? rest : { ...rest, padding };
    const shape = { batch, channels: config.in, height, width };
    return {
      text: describeConfig("Conv2d", { ...config, ...shape }),
      make: (common) => randomBias(new Conv2d({ ...config, ...common })),
      input: [batch, config.in, height, width],
      formula: (w, x) => {
        const bias = config.bias ? w("bias", config.out)[0] : undefined;
        const around = padding ?? Math.floor((config.kernelSize - 1) / 2);
        return images.conv2d(x, shape, w("weight", config.in * config.kernelSize ** 2), bias, {
          ...config,
          padding: around,
        });
      },
    };
  });

const epsilons = fc.constantFrom(1e-5, 0.1);

const groupNorm = fc
  .record({ groups: size(3), perGroup: size(3), batch: size(2), height: size(3), width: size(3), eps: epsilons })
  .map(({ groups, perGroup, batch, height, width, eps: e }): LayerCase => {
    const channels = groups * perGroup;
    const shape = { batch, channels, height, width };
    return {
      text: describeConfig("GroupNorm", { groups, eps: e, ...shape }),
      make: (common) => randomBias(new GroupNorm({ dim: channels, groups, eps: e, ...common })),
      input: [batch, channels, height, width],
      formula: (w, x) => images.groupNorm(x, shape, w("weight", channels)[0]!, w("bias", channels)[0]!, groups, e),
    };
  });

const batchNorm = fc
  .record({ channels: size(4), batch: size(3), height: size(3), width: size(3), eps: epsilons })
  .map(({ eps: e, ...shape }): LayerCase => {
    const { channels, batch, height, width } = shape;
    return {
      text: describeConfig("BatchNorm", { eps: e, ...shape }),
      make: (common) => randomBias(new BatchNorm({ dim: channels, eps: e, ...common })),
      input: [batch, channels, height, width],
      formula: (w, x) => images.batchNorm(x, shape, w("weight", channels)[0]!, w("bias", channels)[0]!, e),
    };
  });

/** One arbitrary a layer. */
export const layerCases: Readonly<Record<string, fc.Arbitrary<LayerCase>>> = {
  Linear: linear,
  Embedding: embedding,
  LearnedPositions: learnedPositions,
  LayerNorm: layerNorm,
  RMSNorm: rmsNorm,
  MLP: mlp,
  Attention: attention,
  Sequential: sequential,
  Conv2d: conv2d,
  GroupNorm: groupNorm,
  BatchNorm: batchNorm,
};

/** Vectors start at constants, which would hide mistakes: overwrites them with other numbers. */
function randomBias<M extends Module>(module: M): M {
  for (const p of module.parameters()) {
    if (p.rank !== 1) continue;
    p.engine.scope(() => {
      p.engine.noGrad(() => p.assign(wave(p)));
    });
  }
  return module;
}

const wave = (p: Tensor): Tensor => p.rangeOf(p.size, p.dtype).mul(0.7).sin().add(0.25);
