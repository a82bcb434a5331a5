import { defaultConfig, type TrainConfig } from "@revnet-zero/train";

/** Our names of the ways to get activations back, to the option that chooses them. */
export const depthModes = {
  store: "store",
  checkpoint: "checkpoint",
  "reversible-exact": "exact",
  "reversible-float": "float",
} as const;

export type DepthMode = keyof typeof depthModes;

export interface DepthRequest {
  readonly mode: DepthMode;
  readonly blocks: number;
  readonly isQuick: boolean;
}

/** Small layers, so that 96 of them run anywhere; everything that grows with depth is there. */
export function depthConfig({ mode, blocks, isQuick }: DepthRequest): TrainConfig {
  const { model, train } = defaultConfig;
  return {
    ...defaultConfig,
    model: {
      ...model,
      numLayers: blocks,
      dModel: isQuick ? 32 : 128,
      numHeads: 4,
      maxSeqLen: 64,
      reversibility: depthModes[mode],
    },
    train: { ...train, batchSize: isQuick ? 2 : 32, sequenceLength: isQuick ? 32 : 64 },
  };
}
