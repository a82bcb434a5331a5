import { HierarchicalReversibleAttention, type HierarchicalReversibleAttentionOptions } from "@revnet-zero/attention";
import type { AttentionMaker } from "@revnet-zero/models";
import { Attention } from "@revnet-zero/nn";

export type Task = "text" | "needles";

export interface LongContextRequest {
  readonly task: Task;
  readonly attention: AttentionName;
  readonly seed: number;
  readonly isQuick: boolean;
}

const ladder = { leafSize: 16, compressionRatios: [4, 16, 64], extendLevels: true } as const;
const hierarchical =
  (more: Partial<HierarchicalReversibleAttentionOptions> = {}): AttentionMaker =>
  (options) =>
    new HierarchicalReversibleAttention({ ...options, ...ladder, ...more, dModel: options.dim });

/** The attention layers compared; all else is equal. The window is as wide as the tokens that the hierarchical ones see one by one. */
export const attentions = {
  dense: (options) => new Attention(options),
  hierarchical: hierarchical(),
  "hierarchical, recall": hierarchical({ recall: { topK: 8, level: 1 } }),
  "hierarchical, learned": hierarchical({ pooling: "learned", levelBias: true }),
  window: (options) => new Attention({ ...options, window: 128 }),
} satisfies Readonly<Record<string, AttentionMaker>>;
export type AttentionName = keyof typeof attentions;

interface Budget {
  readonly numLayers: number;
  readonly dModel: number;
  readonly numHeads: number;
  readonly length: number;
  readonly batchSize: number;
  readonly steps: number;
  readonly evaluationBatches: number;
  readonly learningRate: number;
}

const full: Readonly<Record<Task, Budget>> = {
  text: {
    ...{ numLayers: 4, dModel: 64, numHeads: 4, length: 1024, batchSize: 2 },
    ...{ steps: 300, evaluationBatches: 24, learningRate: 3e-3 },
  },
  needles: {
    ...{ numLayers: 2, dModel: 64, numHeads: 4, length: 1024, batchSize: 4 },
    ...{ steps: 500, evaluationBatches: 50, learningRate: 3e-3 },
  },
};
const small = {
  numLayers: 1,
  dModel: 16,
  numHeads: 2,
  length: 128,
  batchSize: 2,
  steps: 3,
  evaluationBatches: 2,
} as const;

export const budgetOf = (task: Task, isQuick: boolean): Budget => (isQuick ? { ...full[task], ...small } : full[task]);
