import { defaultConfig } from "@revnet-zero/train";
import type { TrainingBackend } from "../backends.ts";
import type { TraineeBuild, TraineeConfig } from "../trainee.ts";

/** Our names of the ways to get activations back, to the option that chooses them. */
const reversibilities = {
  store: "store",
  checkpoint: "checkpoint",
  "reversible-exact": "exact",
  "reversible-float": "float",
  "reversible-exact, updated in backward": "exact",
} as const;

export type DepthMode = keyof typeof reversibilities;

const ways: readonly DepthMode[] = ["store", "checkpoint", "reversible-exact", "reversible-float"];

/** What is measured on a backend. */
export interface DepthPlan {
  readonly modes: readonly DepthMode[];
  readonly depths: readonly number[];
  /** Steps that are timed. */
  readonly repeats: number;
  /** Whether the modes of a depth are there at once and asked in turn; on a GPU all of them do not fit. */
  readonly isInTurn: boolean;
}

export const depthPlans: { readonly [B in TrainingBackend]: DepthPlan } = {
  cpu: { modes: ways, depths: [6, 12, 24, 48, 96], repeats: 5, isInTurn: true },
  cuda: {
    modes: [...ways, "reversible-exact, updated in backward"],
    depths: [12, 24, 48, 96],
    repeats: 3,
    isInTurn: false,
  },
};

export interface DepthRequest {
  readonly backend: TrainingBackend;
  readonly mode: DepthMode;
  readonly blocks: number;
  readonly isQuick: boolean;
}

/** Sizes beside the depth. On the CPU layers are small, so that 96 of them run anywhere: everything that grows with depth is there. */
const sizes: { readonly [B in TrainingBackend]: { readonly full: Size; readonly quick: Size } } = {
  cpu: {
    full: { dModel: 128, numHeads: 4, batchSize: 32, sequenceLength: 64 },
    quick: { dModel: 32, numHeads: 4, batchSize: 2, sequenceLength: 32 },
  },
  cuda: {
    full: { dModel: 768, numHeads: 12, batchSize: 8, sequenceLength: 1024, vocabSize: 50304, precision: "bf16" },
    quick: { dModel: 32, numHeads: 4, batchSize: 2, sequenceLength: 32, vocabSize: 512, precision: "bf16" },
  },
};

interface Size {
  readonly dModel: number;
  readonly numHeads: number;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly vocabSize?: number;
  readonly precision?: TraineeConfig["train"]["precision"];
}

export function depthBuild({ backend, mode, blocks, isQuick }: DepthRequest): TraineeBuild {
  const { model, train } = defaultConfig;
  const { batchSize, sequenceLength, precision = "f32", ...shape } = sizes[backend][isQuick ? "quick" : "full"];
  const reversibility = reversibilities[mode];
  const build: TraineeConfig = {
    ...defaultConfig,
    model: { ...model, ...shape, numLayers: blocks, maxSeqLen: sequenceLength, reversibility },
    train: { ...train, batchSize, sequenceLength, precision },
  };
  return { build, backend, updatesInBackward: mode.endsWith("updated in backward") };
}
