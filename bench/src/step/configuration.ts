import { defaultConfig, type Precision } from "@revnet-zero/train";
import type { TrainingBackend } from "../backends.ts";
import type { TraineeBuild } from "../trainee.ts";

/** A GPT: GELU MLP of four times the width, layer norm, rotary positions, tied embeddings. */
export interface GptSize {
  readonly numLayers: number;
  readonly dModel: number;
  readonly numHeads: number;
  readonly sequenceLength: number;
  readonly batchSize: number;
  /** Left out: bytes, of a text. */
  readonly vocabSize?: number;
  /** What matrix products and attention read. Left out: f32. */
  readonly precision?: Precision;
}
/** Linear layers of these widths with ReLU between them, and cross-entropy. */
export interface MlpSize {
  readonly widths: readonly number[];
  readonly batchSize: number;
}

type Sizes = Readonly<Record<string, GptSize | MlpSize>>;

/** GPT-2's width, heads and vocabulary, the latter a multiple of 128. */
const gpt2 = { dModel: 768, numHeads: 12, sequenceLength: 1024, vocabSize: 50304, precision: "bf16" } as const;

/** All are trained by AdamW with the gradient's norm clipped; on a GPU each step is one graph, of kernels tuned before. */
export const stepModels: { readonly [B in TrainingBackend]: Sizes } = {
  cpu: {
    "gpt-2x256": { numLayers: 2, dModel: 256, numHeads: 4, sequenceLength: 128, batchSize: 8 },
    "gpt-6x384": { numLayers: 6, dModel: 384, numHeads: 6, sequenceLength: 256, batchSize: 8 },
    "mlp-784-512-512-10": { widths: [784, 512, 512, 10], batchSize: 128 },
  },
  cuda: {
    "gpt-12x768, 32 x 1024": { ...gpt2, numLayers: 12, batchSize: 32 },
    "gpt-24x1024, 16 x 1024": { ...gpt2, dModel: 1024, numHeads: 16, numLayers: 24, batchSize: 16 },
    "gpt-96x768, 8 x 1024": { ...gpt2, numLayers: 96, batchSize: 8 },
  },
};

/** By model: the peers' modes that take part, and beside which of ours. A model left out meets all of them, as `stepPeers` says. */
export const duels: { readonly [model: string]: { readonly [peerMode: string]: StepMode } } = {
  "gpt-24x1024, 16 x 1024": { compiled: "ordinary", "reversible (float), eager": "reversible-exact" },
  // What 96 blocks store takes PyTorch half of a device.
  "gpt-96x768, 8 x 1024": { eager: "reversible-exact", "reversible (float), eager": "reversible-exact" },
};

/** For `--quick`. */
const quickGpt: GptSize = { numLayers: 1, dModel: 16, numHeads: 2, sequenceLength: 8, batchSize: 2 };
const quickMlp: MlpSize = { widths: [8, 16, 4], batchSize: 2 };

/** `ordinary` has one float stream, as every other library's; the others are the two-stream network. */
export const stepModes = { ordinary: "store", stored: "store", "reversible-exact": "exact" } as const;
export type StepMode = keyof typeof stepModes;

export function sizeOf(size: GptSize | MlpSize, isQuick: boolean): GptSize | MlpSize {
  if (!isQuick) return size;
  if ("widths" in size) return quickMlp;
  const { vocabSize, precision } = size;
  return {
    ...quickGpt,
    ...(vocabSize === undefined ? {} : { vocabSize: 64 }),
    ...(precision === undefined ? {} : { precision }),
  };
}

/** Tokens, or examples, in a step. */
export const examplesOf = (size: GptSize | MlpSize): number =>
  "widths" in size ? size.batchSize : size.batchSize * size.sequenceLength;

export function stepBuild(size: GptSize, mode: StepMode, backend: TrainingBackend): TraineeBuild {
  const d = defaultConfig;
  const { sequenceLength, batchSize, precision = "f32", ...shape } = size;
  const build = {
    ...d,
    model: { ...d.model, ...shape, maxSeqLen: sequenceLength, reversibility: stepModes[mode] },
    train: { ...d.train, batchSize, sequenceLength, precision, graph: backend === "cuda" },
  };
  return { build, backend, isOrdinary: mode === "ordinary" };
}
