import { type ReversibleMode, reversibleModes, storedTwin } from "@revnet-zero/reversible";
import { type HostData, randomNormal, type Tensor, type TypedArray, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import {
  type EncoderDecoderOptions,
  ReversibleEncoderDecoder,
  ReversibleResNet,
  type ReversibleResNetOptions,
  ReversibleVisionTransformer,
  type ReversibleVisionTransformerOptions,
  type VisionTransformer,
} from "../src/index.ts";
import { engine, key } from "./fixtures.ts";
import { type ImageBatch, imagePass, takeGradients } from "./imageFixtures.ts";

// What holds of every model, whatever its options: a few cases in npm test, a thousand each in the deep suite.

/** The head starts at zero, which hides what is before it. */
export function withRandomHead<M extends VisionTransformer | ReversibleVisionTransformer | ReversibleResNet>(
  model: M,
): M {
  const { weight } = model.head.linear;
  engine.scope(() => weight.assign(randomNormal(weight.shape, { key, engine })));
  return model;
}

/** Modes whose bits are those of another: all that promise some, and checkpoint. */
const promising = reversibleModes.filter((mode) => storedTwin(mode) !== mode && mode !== "float");

type Pass = (mode: ReversibleMode) => Map<string, unknown>;

/** The outcome of a pass in every such mode, each against its stored twin's. */
function expectTwins(pass: Pass, modes: readonly ReversibleMode[]): void {
  for (const mode of modes) {
    const wanted = pass(storedTwin(mode));
    const found = pass(mode);
    if ([...found.values()].includes(undefined)) throw new Error(`${mode}: a parameter without a gradient`);
    for (const [name, values] of wanted)
      expectBitEqual(found.get(name) as TypedArray, values as TypedArray, `${mode}: ${name}`);
  }
}

const imageBatches: fc.Arbitrary<ImageBatch> = fc.record({ batch: fc.integer({ min: 2, max: 4 }), seed: fc.nat() });

type VisionShape = Omit<ReversibleVisionTransformerOptions, "key" | "engine" | "reversibility">;
export const visionShapes: fc.Arbitrary<VisionShape> = fc
  .record({
    patchSize: fc.integer({ min: 1, max: 3 }),
    rows: fc.integer({ min: 1, max: 3 }),
    columns: fc.integer({ min: 1, max: 3 }),
    channels: fc.integer({ min: 1, max: 3 }),
    numClasses: fc.integer({ min: 2, max: 5 }),
    numLayers: fc.integer({ min: 1, max: 3 }),
    numHeads: fc.integer({ min: 1, max: 2 }),
    headDim: fc.integer({ min: 1, max: 4 }),
    mlpRatio: fc.constantFrom(1, 2.5),
    mlp: fc.constantFrom("gelu", "geluExact", "geglu", "swiglu"),
    norm: fc.constantFrom("layer", "rms"),
    normEps: fc.constantFrom(1e-12, 1e-3),
    pooling: fc.constantFrom("class", "mean"),
    dropout: fc.constantFrom(0, 0.2),
    streams: fc.constantFrom("full", "split"),
    fractionBits: fc.constantFrom(12, 20),
  } as const)
  .map(({ rows, columns, headDim, ...rest }) => ({
    ...rest,
    imageSize: [rows * rest.patchSize, columns * rest.patchSize] as const,
    dModel: headDim * rest.numHeads * (rest.streams === "split" ? 2 : 1),
  }));
/** Loss and gradients of a vision transformer in a mode are its stored twin's, bit for bit. */
export const visionTwins = (modes: readonly ReversibleMode[] = promising) =>
  fc.property(visionShapes, imageBatches, (shape, batch) => {
    const model = withRandomHead(new ReversibleVisionTransformer({ ...shape, key, engine }));
    try {
      expectTwins((mode) => imagePass(model, batch, mode), modes);
    } finally {
      model.dispose();
    }
  });

type ResNetShape = Omit<ReversibleResNetOptions, "key" | "engine" | "reversibility">;
export const resNetShapes: fc.Arbitrary<ResNetShape> = fc
  .record({
    stageBlocks: fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 3 }),
    rows: fc.integer({ min: 1, max: 2 }),
    columns: fc.integer({ min: 1, max: 2 }),
    channels: fc.integer({ min: 1, max: 3 }),
    numClasses: fc.integer({ min: 2, max: 5 }),
    width: fc.integer({ min: 1, max: 3 }),
    norm: fc.constantFrom("group", "batch"),
    dropout: fc.constantFrom(0, 0.2),
    fractionBits: fc.constantFrom(12, 20),
  } as const)
  .map(({ rows, columns, ...rest }) => {
    const factor = 2 ** (rest.stageBlocks.length - 1);
    return { ...rest, imageSize: [rows * factor, columns * factor] as const };
  });
/** Loss, gradients and running statistics of a ResNet in a mode are its stored twin's, bit for bit. */
export const resNetTwins = (modes: readonly ReversibleMode[] = promising) =>
  fc.property(resNetShapes, imageBatches, (shape, batch) => {
    expectTwins((mode) => {
      const model = withRandomHead(new ReversibleResNet({ ...shape, key, engine }));
      try {
        const found: Map<string, unknown> = imagePass(model, batch, mode);
        for (const [name, values] of runningStatistics(model)) found.set(name, values);
        return found;
      } finally {
        model.dispose();
      }
    }, modes);
  });

export const runningStatistics = (model: ReversibleResNet): Map<string, TypedArray> =>
  new Map(
    [...model.namedBuffers()]
      .filter(([name]) => name.includes("running"))
      .map(([name, buffer]) => [name, buffer.dataSync().slice() as TypedArray]),
  );

/** Any words as streams come back from all stages, bit for bit, and the running statistics stay. */
export const resNetBijection = () =>
  fc.property(resNetShapes, fc.nat(), (shape, seed) => {
    engine.scope(() => {
      const model = new ReversibleResNet({ ...shape, dropout: 0, key, engine });
      const random = new Random(seed);
      const [height, width] = shape.imageSize as readonly [number, number];
      const words = (): Tensor =>
        tensor(
          Int32Array.from({ length: 2 * shape.width * height * width }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
          { shape: [2, shape.width, height, width], engine },
        );
      const streams = [words(), words()] as const;
      const outputs = engine.noGrad(() => model.stages.call(...streams)) as [Tensor, Tensor];
      const before = runningStatistics(model);
      const back = model.stages.inverse(...outputs);
      for (const [i, x] of streams.entries())
        expectBitEqual(back[i]!.dataSync() as TypedArray, x.dataSync() as TypedArray, `stream ${i}`);
      for (const [name, values] of runningStatistics(model)) expectBitEqual(values, before.get(name)!, name);
      model.dispose();
    });
  });

type EncoderDecoderShape = Omit<EncoderDecoderOptions, "key" | "engine" | "reversibility">;
export const encoderDecoderShapes: fc.Arbitrary<EncoderDecoderShape> = fc
  .record({
    sourceVocabSize: fc.integer({ min: 2, max: 9 }),
    targetVocabSize: fc.integer({ min: 2, max: 9 }),
    numEncoderLayers: fc.integer({ min: 1, max: 2 }),
    numDecoderLayers: fc.integer({ min: 1, max: 3 }),
    headDim: fc.constantFrom(2, 4),
    numKeyValueHeads: fc.integer({ min: 1, max: 2 }),
    mlpRatio: fc.constantFrom(1, 2.5),
    mlp: fc.constantFrom("gelu", "swiglu"),
    norm: fc.constantFrom("layer", "rms"),
    positions: fc.constantFrom("rotary", "learned"),
    dropout: fc.constantFrom(0, 0.2),
    tieEmbeddings: fc.boolean(),
  } as const)
  .map(({ headDim, ...rest }) => ({ ...rest, numHeads: 2, dModel: 2 * headDim, maxSeqLen: 6 }));
export const pairBatches = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  places: fc.integer({ min: 1, max: 6 }),
  time: fc.integer({ min: 1, max: 6 }),
  seed: fc.nat(),
});
export type PairBatch = {
  readonly batch: number;
  readonly places: number;
  readonly time: number;
  readonly seed: number;
};

export function drawPair(
  model: ReversibleEncoderDecoder,
  { batch, places, time, seed }: PairBatch,
): [Tensor, Tensor, Tensor] {
  const random = new Random(seed);
  const words = (length: number, below: number): Tensor =>
    tensor(
      Int32Array.from({ length: batch * length }, () => random.integer(0, below - 1)),
      { shape: [batch, length], engine },
    );
  const { encoderOptions, decoderOptions } = model;
  const target = decoderOptions.vocabSize;
  return [words(places, encoderOptions.vocabSize), words(time, target), words(time, target)];
}

export function pairPass(
  model: ReversibleEncoderDecoder,
  batch: PairBatch,
  mode: ReversibleMode,
): Map<string, HostData | undefined> {
  model.reversibility = mode;
  const loss = engine.scope(() =>
    engine.withKey(key, () => {
      const value = model.loss(...drawPair(model, batch));
      value.backward();
      return value.dataSync();
    }),
  );
  return new Map([["loss", loss], ...takeGradients(model)]);
}

/** Loss and gradients of an encoder-decoder in a mode are its stored twin's, the memory's of all layers included, bit for bit. */
export const encoderDecoderTwins = (modes: readonly ReversibleMode[] = promising) =>
  fc.property(encoderDecoderShapes, pairBatches, (shape, batch) => {
    const model = new ReversibleEncoderDecoder({ ...shape, key, engine });
    try {
      expectTwins((mode) => pairPass(model, batch, mode), modes);
    } finally {
      model.dispose();
    }
  });
