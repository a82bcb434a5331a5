import { HierarchicalReversibleAttention } from "@revnet-zero/attention";
import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { glow, NormalizingFlow, StandardNormal } from "@revnet-zero/flows";
import { estimateProgram } from "@revnet-zero/memory";
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
import { AdamW } from "@revnet-zero/optim";
import type { BlockPolicy, ReversibleMode } from "@revnet-zero/reversible";
import { type BytesByCategory, Engine, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";

export interface MemorySizes {
  readonly layers: number;
  readonly width: number;
  /** Sequences of a step, their length, and different tokens. */
  readonly batch: number;
  readonly length: number;
  readonly vocabulary: number;
  /** Images of a step, their side, and channels of convolutions. */
  readonly images: number;
  readonly side: number;
  readonly channels: number;
}

/** GPT-2's shape, and images for peaks of some hundred MiB. */
export const largeSizes: MemorySizes = {
  ...{ layers: 12, width: 768, batch: 8, length: 1024, vocabulary: 50304 },
  ...{ images: 32, side: 64, channels: 64 },
};
/** For a host that plays the device: peaks of some MiB, beside which the allocator's rounding does not show. */
export const smallSizes: MemorySizes = {
  ...{ layers: 3, width: 64, batch: 8, length: 128, vocabulary: 1024 },
  ...{ images: 16, side: 32, channels: 16 },
};

interface Subject {
  readonly model: Module;
  readonly loss: () => Tensor;
}
type MakeSubject = (sizes: MemorySizes, engine: Engine) => Subject;

const key = randomKey(1);
const tokensOf = ({ batch, length }: MemorySizes, engine: Engine): Tensor =>
  tensor(new Int32Array(batch * length).fill(1), { shape: [batch, length], engine });
const imagesOf = ({ images, side }: MemorySizes, engine: Engine): Tensor =>
  randomNormal([images, 3, side, side], { key, engine });
const labelsOf = ({ images }: MemorySizes, engine: Engine): Tensor => tensor(new Int32Array(images), { engine });

const textOf = ({ layers, width, length, vocabulary }: MemorySizes) => ({
  ...{ vocabSize: vocabulary, numLayers: layers, dModel: width, numHeads: width / 32, maxSeqLen: length },
});
const patchesOf = ({ side, layers, width }: MemorySizes) => ({
  ...{ imageSize: side, channels: 3, numClasses: 10, patchSize: 4, numLayers: layers, dModel: width },
  numHeads: width / 32,
});

const language =
  (reversibility: ReversibleMode | "ordinary", dtype: "f32" | "bf16", plan?: readonly BlockPolicy[]): MakeSubject =>
  (sizes, engine) => {
    const options = { ...textOf(sizes), key, engine };
    const model =
      reversibility === "ordinary"
        ? new Transformer(options)
        : new ReversibleTransformer({ ...options, reversibility });
    if (plan !== undefined && model instanceof ReversibleTransformer)
      model.sequence.plan = { blocks: model.sequence.blocks.map((_, i) => plan[i % plan.length]!) };
    const loss = (): Tensor => model.loss(tokensOf(sizes, engine), tokensOf(sizes, engine));
    return { model, loss: dtype === "f32" ? loss : () => engine.autocast("bf16", loss) };
  };

/** Language, vision and flow; every way to get activations back that no value decides about. */
const subjects: Readonly<Record<string, MakeSubject>> = {
  transformer: language("ordinary", "f32"),
  "transformer in bf16": language("ordinary", "bf16"),
  "reversible transformer": language("exact", "f32"),
  "reversible transformer in bf16": language("exact", "bf16"),
  "stored streams in bf16": language("store", "bf16"),
  "checkpointed streams in bf16": language("checkpoint", "bf16"),
  "float streams in bf16": language("float", "bf16"),
  "16-bit streams in bf16": language("exact16", "bf16"),
  "mixed plan in bf16": language("exact", "bf16", ["store", "reconstruct", "checkpoint", "store8"]),
  "offloading plan in bf16": language("exact", "bf16", ["offload", "swap", "reconstruct"]),
  "converted transformer": (sizes, engine) => {
    const original = new Transformer({ ...textOf(sizes), key, engine });
    const model = convertToReversible(original, { coupling: "bdia" });
    original.dispose();
    return { model, loss: () => model.loss(tokensOf(sizes, engine), tokensOf(sizes, engine)) };
  },
  "hierarchical attention in bf16": (sizes, engine) => {
    const model = new ReversibleTransformer({
      ...textOf(sizes),
      ...{ key, engine },
      attention: (options) =>
        new HierarchicalReversibleAttention({
          ...{ ...options, dModel: options.dim },
          ...{ compressionRatios: [4, 16], leafSize: 16 },
        }),
    });
    const loss = (): Tensor => model.loss(tokensOf(sizes, engine), tokensOf(sizes, engine));
    return { model, loss: () => engine.autocast("bf16", loss) };
  },
  "vision transformer": (sizes, engine) => {
    const model = new VisionTransformer({ ...patchesOf(sizes), key, engine });
    return { model, loss: () => model.loss(imagesOf(sizes, engine), labelsOf(sizes, engine)) };
  },
  "reversible vision transformer": (sizes, engine) => {
    const model = new ReversibleVisionTransformer({ ...patchesOf(sizes), key, engine });
    return { model, loss: () => model.loss(imagesOf(sizes, engine), labelsOf(sizes, engine)) };
  },
  "reversible ResNet": (sizes, engine) => {
    const { side: imageSize, channels: width, layers } = sizes;
    const stages = { channels: 3, numClasses: 10, stageBlocks: [layers, layers, layers] };
    const model = new ReversibleResNet({ ...stages, imageSize, width, key, engine });
    return { model, loss: () => model.loss(imagesOf(sizes, engine), labelsOf(sizes, engine)) };
  },
  "encoder and decoder": (sizes, engine) => {
    const { vocabSize, numLayers, ...rest } = textOf(sizes);
    const model = new ReversibleEncoderDecoder({
      ...rest,
      ...{ sourceVocabSize: vocabSize, targetVocabSize: vocabSize },
      ...{ numEncoderLayers: numLayers, numDecoderLayers: numLayers, key, engine },
    });
    const tokens = (): Tensor => tokensOf(sizes, engine);
    return { model, loss: () => model.loss(tokens(), tokens(), tokens()) };
  },
  Glow: (sizes, engine) => {
    const { side, channels, layers } = sizes;
    const shape = [3, side, side] as const;
    const transform = glow({ shape, scales: 2, couplings: layers, hidden: 4 * channels, key, engine });
    const base = new StandardNormal({ shape: [3 * side * side], engine });
    const model = new NormalizingFlow({ transform, base });
    return { model, loss: () => model.loss(imagesOf(sizes, engine)) };
  },
};

export const memorySubjects: readonly string[] = Object.keys(subjects);

interface Built {
  readonly step: () => void;
  readonly dispose: () => void;
}

/** Forward, backward and AdamW. */
function build(name: string, sizes: MemorySizes, engine: Engine): Built {
  const { model, loss } = subjects[name]!(sizes, engine);
  const optimizer = new AdamW(model.parameters(), { learningRate: 1e-4 });
  const step = (): void => {
    engine.withKey(key, () => engine.scope(() => loss().backward()));
    optimizer.step();
    optimizer.zeroGrad();
  };
  const dispose = (): void => {
    optimizer.dispose();
    model.dispose();
  };
  return { step, dispose };
}

export interface MemoryOfStep {
  readonly estimatedBytes: number;
  /** Handed out at once at most, to tensors and kernels, and taken from the driver: as estimated. */
  readonly estimatedUsedBytes: number;
  readonly estimatedReservedBytes: number;
  /** Whether what the estimate's peak consists of is what the ledger's does. */
  readonly isSameAtPeak: boolean;
  readonly assumptions: readonly string[];
  readonly ledgerBytes: number;
  /** Handed out to tensors at once at most, rounded up, and the same with the workspaces of kernels. */
  readonly tensorBytes: number;
  readonly usedBytes: number;
  /** Taken from the driver: in use, or kept for reuse. */
  readonly reservedBytes: number;
  /** What the step added to that, and the same by the driver's own count of free bytes. */
  readonly addedBytes: number;
  readonly takenBytes: number;
}

const isSame = (a: BytesByCategory, b: BytesByCategory): boolean =>
  Object.entries(a).every(([category, bytes]) => b[category as keyof BytesByCategory] === bytes);

/** A step's estimate, and what the step then needs on the device: by the ledger, the allocator and the driver. */
export function memoryOfStep(backend: CudaBackend, name: string, sizes: MemorySizes): MemoryOfStep {
  const estimate = estimateProgram((engine) => build(name, sizes, engine).step, { like: backend });
  // Compiles, and has libraries take what they keep.
  run(backend, name, sizes, () => {});
  const before = backend.memory();
  backend.resetPeaks();
  return run(backend, name, sizes, (engine) => {
    const { peakBytes, atPeak } = engine.memory();
    const { peakTensorBytes, peakUsedBytes, reservedBytes, freeBytes } = backend.memory();
    return {
      estimatedBytes: estimate.peakBytes,
      estimatedUsedBytes: estimate.device!.usedBytes,
      estimatedReservedBytes: estimate.device!.reservedBytes,
      isSameAtPeak: isSame(estimate.atPeak, atPeak),
      assumptions: estimate.assumptions,
      ledgerBytes: peakBytes,
      tensorBytes: peakTensorBytes,
      usedBytes: peakUsedBytes,
      reservedBytes,
      addedBytes: reservedBytes - before.reservedBytes,
      takenBytes: before.freeBytes - freeBytes,
    };
  });
}

/** Two steps on an engine that measures the second, and nothing left on the device. */
function run<T>(backend: CudaBackend, name: string, sizes: MemorySizes, measure: (engine: Engine) => T): T {
  const engine = new Engine(backend);
  const { step, dispose } = build(name, sizes, engine);
  engine.scope(step);
  engine.ledger.resetPeak();
  engine.scope(step);
  backend.synchronize();
  const measured = measure(engine);
  dispose();
  backend.releaseCaches();
  return measured;
}
