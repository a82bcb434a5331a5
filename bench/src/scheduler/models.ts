import { StreamCouplings } from "@revnet-zero/flows";
import {
  ReversibleEncoderDecoder,
  ReversibleResNet,
  ReversibleTransformer,
  ReversibleVisionTransformer,
} from "@revnet-zero/models";
import { LayerNorm, Linear, MLP, Module } from "@revnet-zero/nn";
import { affine, BlockSequence, type OrdinaryBlock, ReversibleSequence } from "@revnet-zero/reversible";
import { type Engine, foldKey, type Key, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";

/** A model with a forward and a backward pass on inputs of its own. */
export interface BenchModel {
  readonly model: Module;
  readonly pass: () => void;
}

export type MakeModel = (engine: Engine, isQuick: boolean) => BenchModel;

const key = randomKey(1);
const tokensOf = (engine: Engine, batch: number, time: number, vocabulary: number): Tensor =>
  tensor(
    Int32Array.from({ length: batch * time }, (_, i) => (17 * i + (i >> 3)) % vocabulary),
    { shape: [batch, time], engine },
  );
const withLoss = (model: Module, loss: () => Tensor): BenchModel => ({ model, pass: () => loss().backward() });

const language =
  (numLayers: number, dModel: number): MakeModel =>
  (engine, isQuick) => {
    const shape = { vocabSize: 256, numHeads: 4, maxSeqLen: 64, numLayers: isQuick ? 3 : numLayers, dModel };
    const model = new ReversibleTransformer({ ...shape, key, engine });
    const tokens = tokensOf(engine, isQuick ? 2 : 8, 64, 256);
    return withLoss(model, () => model.loss(tokens, tokens));
  };

const visionTransformer: MakeModel = (engine, isQuick) => {
  const shape = { imageSize: 32, channels: 3, numClasses: 10, patchSize: 4, dModel: 48, numHeads: 4 };
  const model = new ReversibleVisionTransformer({ ...shape, numLayers: isQuick ? 3 : 24, key, engine });
  const [images, labels] = imagesOf(engine, isQuick ? 2 : 8, 3, 32);
  return withLoss(model, () => model.loss(images, labels));
};

const residualNetwork: MakeModel = (engine, isQuick) => {
  const stageBlocks = isQuick ? [1, 1] : [6, 6, 6];
  const model = new ReversibleResNet({
    imageSize: 32,
    channels: 3,
    numClasses: 10,
    stageBlocks,
    width: 8,
    key,
    engine,
  });
  const [images, labels] = imagesOf(engine, isQuick ? 2 : 8, 3, 32);
  return withLoss(model, () => model.loss(images, labels));
};

const encoderDecoder: MakeModel = (engine, isQuick) => {
  const [numEncoderLayers, numDecoderLayers] = isQuick ? [2, 2] : [12, 12];
  const shape = { dModel: 48, numHeads: 4, maxSeqLen: 48, numEncoderLayers, numDecoderLayers };
  const model = new ReversibleEncoderDecoder({ ...shape, key, engine });
  const [source, target] = [tokensOf(engine, isQuick ? 2 : 8, 48, 256), tokensOf(engine, isQuick ? 2 : 8, 48, 256)];
  return withLoss(model, () => model.loss(source, target, target));
};

/** Affine couplings under a standard normal: on fixed-point streams, with their information buffers, or on float ones, rebuilt up to rounding. */
const flow =
  (mode: "exact" | "float"): MakeModel =>
  (engine, isQuick) => {
    const dim = 64;
    const branch = (k: Key): Module => new Conditioner(dim / 2, k, engine);
    const blocks = Array.from({ length: isQuick ? 3 : 24 }, (_, i) =>
      affine({ F: branch(foldKey(key, 2 * i)), G: branch(foldKey(key, 2 * i + 1)) }),
    );
    const model = new StreamCouplings({ sequence: new ReversibleSequence({ blocks, mode, fractionBits: 16, engine }) });
    const x = engine.keep(randomNormal([isQuick ? 16 : 512, dim], { key, engine }));
    return withLoss(model, () => {
      const { value, logDeterminant } = model.call(x);
      return value.square().sum(-1).mul(0.5).sub(logDeterminant).mean();
    });
  };

/** [batch, dim] -> [batch, 2 · dim]: a log-scale and a shift. */
class Conditioner extends Module {
  readonly up: Linear;
  readonly down: Linear;

  constructor(dim: number, k: Key, engine: Engine) {
    super();
    this.up = new Linear({ in: dim, out: 4 * dim, activation: "gelu", key: foldKey(k, 0), engine });
    this.down = new Linear({ in: 4 * dim, out: 2 * dim, key: foldKey(k, 1), engine });
  }

  override forward(x: Tensor): Tensor {
    return this.down.call(this.up.call(x)).mul(0.1);
  }
}

/** x + mlp(norm(x)), ordinary. */
class ResidualBlock extends Module {
  readonly norm: LayerNorm;
  readonly mlp: MLP;

  constructor(dim: number, k: Key, engine: Engine) {
    super();
    this.norm = new LayerNorm({ dim, engine });
    this.mlp = new MLP({ dim, key: k, engine });
  }

  override forward(x: Tensor): Tensor {
    return x.add(this.mlp.call(this.norm.call(x)));
  }
}

/** Ordinary blocks, then reversible ones, then ordinary ones. */
class Mixed extends Module {
  readonly before: BlockSequence;
  readonly sequence: ReversibleSequence;
  readonly after: BlockSequence;

  constructor(dim: number, depth: number, engine: Engine) {
    super();
    const ordinary = (from: number): OrdinaryBlock[] =>
      Array.from({ length: depth / 2 }, (_, i) => new ResidualBlock(dim, foldKey(key, from + i), engine));
    const branch = (i: number): Module => new MLP({ dim, key: foldKey(key, 200 + i), engine });
    const blocks = Array.from({ length: depth }, (_, i) => ({ F: branch(2 * i), G: branch(2 * i + 1) }));
    this.before = new BlockSequence({ blocks: ordinary(0) });
    this.sequence = new ReversibleSequence({ blocks, engine });
    this.after = new BlockSequence({ blocks: ordinary(100) });
  }

  override forward(x: Tensor): Tensor {
    const streams = this.before.call(x);
    const [a, b] = this.sequence.call(streams, streams) as [Tensor, Tensor];
    return this.after.call(a.add(b));
  }
}

const mixed: MakeModel = (engine, isQuick) => {
  const model = new Mixed(48, isQuick ? 2 : 12, engine);
  const x = engine.keep(randomNormal([isQuick ? 32 : 1024, 48], { key, engine }));
  return withLoss(model, () => model.call(x).square().mean());
};

function imagesOf(engine: Engine, batch: number, channels: number, side: number): [Tensor, Tensor] {
  const images = engine.keep(randomNormal([batch, channels, side, side], { key, engine }));
  return [
    images,
    tensor(
      Int32Array.from({ length: batch }, (_, i) => i % 10),
      { engine },
    ),
  ];
}

/** Language, vision, flow; all reversible, in stages, with a context, and mixed with ordinary blocks. */
export const benchModels: Readonly<Record<string, MakeModel>> = {
  "transformer, 24 layers": language(24, 64),
  "transformer, 48 narrow layers": language(48, 32),
  "vision transformer": visionTransformer,
  "residual network, 3 stages": residualNetwork,
  "encoder and decoder": encoderDecoder,
  "affine flow": flow("exact"),
  "affine flow, float streams": flow("float"),
  "mixed, half of it ordinary": mixed,
};
