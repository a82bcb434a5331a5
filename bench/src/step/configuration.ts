import { defaultConfig, type TrainConfig } from "@revnet-zero/train";

/** A byte-level GPT: GELU MLP of four times the width, layer norm, rotary positions, tied embeddings. */
export interface GptSize {
  readonly numLayers: number;
  readonly dModel: number;
  readonly numHeads: number;
  readonly sequenceLength: number;
  readonly batchSize: number;
}
/** Linear layers of these widths with ReLU between them, and cross-entropy. */
export interface MlpSize {
  readonly widths: readonly number[];
  readonly batchSize: number;
}

/** All are trained by AdamW with the gradient's norm clipped. */
export const stepModels = {
  "gpt-2x256": { numLayers: 2, dModel: 256, numHeads: 4, sequenceLength: 128, batchSize: 8 },
  "gpt-6x384": { numLayers: 6, dModel: 384, numHeads: 6, sequenceLength: 256, batchSize: 8 },
  "mlp-784-512-512-10": { widths: [784, 512, 512, 10], batchSize: 128 },
} as const satisfies Record<string, GptSize | MlpSize>;

/** For `--quick`. */
const quickGpt: GptSize = { numLayers: 1, dModel: 16, numHeads: 2, sequenceLength: 8, batchSize: 2 };
const quickMlp: MlpSize = { widths: [8, 16, 4], batchSize: 2 };

export type StepModel = keyof typeof stepModels;

/** `ordinary` has one float stream, as every other library's; the others are the two-stream network. */
export const stepModes = { ordinary: "store", stored: "store", "reversible-exact": "exact" } as const;
export type StepMode = keyof typeof stepModes;

export function sizeOf(model: StepModel, isQuick: boolean): GptSize | MlpSize {
  const size = stepModels[model];
  if (!isQuick) return size;
  return "widths" in size ? quickMlp : quickGpt;
}

/** Tokens, or examples, in a step. */
export const examplesOf = (size: GptSize | MlpSize): number =>
  "widths" in size ? size.batchSize : size.batchSize * size.sequenceLength;

export function stepConfig(size: GptSize, mode: StepMode): TrainConfig {
  const d = defaultConfig;
  const { sequenceLength, batchSize, ...shape } = size;
  return {
    ...d,
    model: { ...d.model, ...shape, maxSeqLen: sequenceLength, reversibility: stepModes[mode] },
    train: { ...d.train, batchSize, sequenceLength },
  };
}
