import { defaultConfig, type TrainConfig } from "@revnet-zero/train";

interface Size {
  readonly numLayers: number;
  readonly dModel: number;
  readonly numHeads: number;
  readonly sequenceLength: number;
  readonly batchSize: number;
}

/** Byte-level GPTs: GELU MLP of four times the width, layer norm, rotary positions, tied embeddings, AdamW, clipped norm. */
export const stepModels = {
  "gpt-2x256": { numLayers: 2, dModel: 256, numHeads: 4, sequenceLength: 128, batchSize: 8 },
  "gpt-6x384": { numLayers: 6, dModel: 384, numHeads: 6, sequenceLength: 256, batchSize: 8 },
} as const satisfies Record<string, Size>;

/** For `--quick`. */
const quickSize: Size = { numLayers: 1, dModel: 16, numHeads: 2, sequenceLength: 8, batchSize: 2 };

export type StepModel = keyof typeof stepModels;

/** `ordinary` has one float stream, as every other library's; the others are the two-stream network. */
export const stepModes = { ordinary: "store", stored: "store", "reversible-exact": "exact" } as const;
export type StepMode = keyof typeof stepModes;

export const sizeOf = (model: StepModel, isQuick: boolean): Size => (isQuick ? quickSize : stepModels[model]);

export function stepConfig(model: StepModel, mode: StepMode, isQuick: boolean): TrainConfig {
  const d = defaultConfig;
  const { sequenceLength, batchSize, ...shape } = sizeOf(model, isQuick);
  return {
    ...d,
    model: { ...d.model, ...shape, maxSeqLen: sequenceLength, reversibility: stepModes[mode] },
    train: { ...d.train, batchSize, sequenceLength },
  };
}
