import { glow, NormalizingFlow, realNVP, StandardNormal } from "@revnet-zero/flows";
import {
  convertToReversible,
  ReversibleEncoderDecoder,
  ReversibleResNet,
  ReversibleTransformer,
  ReversibleVisionTransformer,
  Transformer,
  VisionTransformer,
} from "@revnet-zero/models";
import type { Module } from "@revnet-zero/nn";
import { Adafactor, AdamW, clipByGlobalNorm, Lion, SGD } from "@revnet-zero/optim";
import { type BlockPolicy, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import { type Engine, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import type { StepProgram, StepSizes } from "../src/index.ts";

/** What a subject may be told besides its sizes. */
export interface Variant {
  readonly mode?: ReversibleMode;
  readonly policies?: readonly BlockPolicy[];
  readonly dropout?: number;
}

interface Subject {
  readonly model: Module;
  readonly loss: () => Tensor;
}
export type SubjectMaker = (engine: Engine, sizes: StepSizes, variant: Variant) => Subject;

const key = randomKey(3);
const tokens = (engine: Engine, { batch, sequence }: StepSizes): Tensor =>
  tensor(new Int32Array(batch * sequence).fill(1), { shape: [batch, sequence], engine });
const labels = (engine: Engine, { batch }: StepSizes): Tensor => tensor(new Int32Array(batch), { engine });
const noise = (shape: readonly number[], engine: Engine): Tensor => randomNormal(shape, { key, engine });

const text = ({ sequence, depth }: StepSizes) => ({
  vocabSize: 19,
  numLayers: depth,
  dModel: 8,
  numHeads: 2,
  maxSeqLen: sequence,
});
const image = { imageSize: 8, channels: 1, numClasses: 5 };
const patches = ({ depth }: StepSizes) => ({ ...image, patchSize: 4, numLayers: depth, dModel: 8, numHeads: 2 });

/** Every model of the library, small. */
export const subjects: Readonly<Record<string, SubjectMaker>> = {
  "reversible transformer": (engine, sizes, { mode = "exact", dropout = 0 }) => {
    const model = new ReversibleTransformer({ ...text(sizes), reversibility: mode, dropout, key, engine });
    return { model, loss: () => model.loss(tokens(engine, sizes), tokens(engine, sizes)) };
  },
  transformer: (engine, sizes) => {
    const model = new Transformer({ ...text(sizes), key, engine });
    return { model, loss: () => model.loss(tokens(engine, sizes), tokens(engine, sizes)) };
  },
  "reversible vision transformer": (engine, sizes, { mode = "exact", dropout = 0 }) => {
    const model = new ReversibleVisionTransformer({ ...patches(sizes), reversibility: mode, dropout, key, engine });
    return { model, loss: () => model.loss(noise([sizes.batch, 1, 8, 8], engine), labels(engine, sizes)) };
  },
  "vision transformer": (engine, sizes) => {
    const model = new VisionTransformer({ ...patches(sizes), key, engine });
    return { model, loss: () => model.loss(noise([sizes.batch, 1, 8, 8], engine), labels(engine, sizes)) };
  },
  "reversible ResNet": (engine, sizes, { mode = "exact" }) => {
    const stages = { ...image, stageBlocks: [sizes.depth, sizes.depth], width: 4 };
    const model = new ReversibleResNet({ ...stages, reversibility: mode, key, engine });
    return { model, loss: () => model.loss(noise([sizes.batch, 1, 8, 8], engine), labels(engine, sizes)) };
  },
  "encoder-decoder": (engine, sizes, { mode = "exact", dropout = 0 }) => {
    const { vocabSize, numLayers, ...rest } = text(sizes);
    const vocabularies = { sourceVocabSize: vocabSize, targetVocabSize: vocabSize };
    const layers = { numEncoderLayers: numLayers, numDecoderLayers: numLayers };
    const model = new ReversibleEncoderDecoder({
      ...vocabularies,
      ...layers,
      ...rest,
      reversibility: mode,
      dropout,
      key,
      engine,
    });
    return { model, loss: () => model.loss(tokens(engine, sizes), tokens(engine, sizes), tokens(engine, sizes)) };
  },
  "converted transformer": (engine, sizes) => {
    const original = new Transformer({ ...text(sizes), key, engine });
    const model = convertToReversible(original, { coupling: "bdia" });
    return { model, loss: () => model.loss(tokens(engine, sizes), tokens(engine, sizes)) };
  },
  RealNVP: (engine, { batch, depth }) => {
    const transform = realNVP({ dim: 2, couplings: depth, hidden: 16, key, engine });
    const model = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2], engine }) });
    return { model, loss: () => model.loss(noise([batch, 2], engine)) };
  },
  Glow: (engine, { batch, depth }) => {
    const transform = glow({ shape: [1, 8, 8], scales: 2, couplings: depth, hidden: 8, key, engine });
    const model = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [64], engine }) });
    return { model, loss: () => model.loss(noise([batch, 1, 8, 8], engine)) };
  },
};

const optimizers = [
  (model: Module) => new AdamW(model.parameters(), { learningRate: 1e-3 }),
  (model: Module) => new Lion(model.parameters(), { learningRate: 1e-4 }),
  (model: Module) => new SGD(model.parameters(), { learningRate: 1e-2, momentum: 0.9 }),
  (model: Module) => new Adafactor(model.parameters(), { learningRate: 1e-3 }),
] as const;

export interface ProgramOptions extends Variant {
  readonly optimizer?: number;
  readonly clips?: boolean;
}

/** A whole training step of a subject, under a plan where its modes have one. */
export function programOf(make: SubjectMaker, sizes: StepSizes, options: ProgramOptions = {}): StepProgram {
  const { optimizer: which = 0, clips = false, policies } = options;
  return (engine) => {
    const { model, loss } = make(engine, sizes, options);
    if (policies !== undefined) {
      let next = 0;
      for (const module of model.namedModules().values())
        if (module instanceof ReversibleSequence)
          module.plan = { blocks: module.blocks.map(() => policies[next++ % policies.length]!) };
    }
    const optimizer = optimizers[which % optimizers.length]!(model);
    return () => {
      engine.withKey(key, () => engine.scope(() => loss().backward()));
      const factor = clips ? clipByGlobalNorm(model.parameters(), 1).factor : undefined;
      optimizer.step(factor === undefined ? {} : { gradientFactor: factor });
      optimizer.zeroGrad();
    };
  };
}
