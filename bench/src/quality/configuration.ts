import { defaultConfig, type TrainConfig } from "@revnet-zero/train";

export const qualityModels = ["transformer", "reversible-float", "reversible-exact"] as const;
export type QualityModel = (typeof qualityModels)[number];

export interface QualityRequest {
  readonly model: QualityModel;
  readonly seed: number;
  readonly isQuick: boolean;
}

/** One budget for all: the same text, tokens, parameters and learning rates; the seed decides parameters and batches. */
export function qualityConfig({ model, seed, isQuick }: QualityRequest): TrainConfig {
  const d = defaultConfig;
  return {
    ...d,
    model: {
      ...d.model,
      numLayers: 4,
      dModel: isQuick ? 16 : 64,
      numHeads: 4,
      maxSeqLen: 64,
      reversibility: model === "reversible-exact" ? "exact" : "float",
    },
    train: {
      ...d.train,
      steps: isQuick ? 20 : 1500,
      batchSize: isQuick ? 2 : 16,
      sequenceLength: 64,
      evalBatches: isQuick ? 2 : 100,
      seed,
    },
    optimizer: { ...d.optimizer, learningRate: 0.003 },
    schedule: { ...d.schedule, warmupSteps: isQuick ? 5 : 100 },
  };
}
