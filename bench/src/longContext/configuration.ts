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

/** Tokens of a leaf: so small that the short sequences of this suite reach the second level of summaries, of 16 tokens. */
const leafSize = { text: 8, needles: 4 } as const;

const hierarchical =
  (more: Partial<HierarchicalReversibleAttentionOptions> = {}) =>
  (task: Task): AttentionMaker =>
  (options) =>
    new HierarchicalReversibleAttention({
      ...{ ...options, leafSize: leafSize[task], compressionRatios: [4, 16], extendLevels: true },
      ...{ ...more, dModel: options.dim },
    });

/** The attention layers compared; all else is equal. The window is as wide as what the hierarchical ones see token by token. */
export const attentions = {
  dense: () => (options) => new Attention(options),
  hierarchical: hierarchical(),
  "hierarchical, learned": hierarchical({ pooling: "learned", levelBias: true }),
  "hierarchical, recall": hierarchical({ recall: { topK: 8, level: 1 } }),
  window: (task) => (options) => new Attention({ ...options, window: 8 * leafSize[task] }),
} satisfies Readonly<Record<string, (task: Task) => AttentionMaker>>;
export type AttentionName = keyof typeof attentions;

/** What each task is asked of. */
export const comparisons: Readonly<Record<Task, readonly AttentionName[]>> = {
  text: ["dense", "hierarchical", "hierarchical, learned", "window"],
  needles: ["dense", "hierarchical", "hierarchical, recall"],
};

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
    ...{ numLayers: 3, dModel: 64, numHeads: 4, length: 512, batchSize: 4 },
    ...{ steps: 200, evaluationBatches: 40, learningRate: 3e-3 },
  },
  needles: {
    ...{ numLayers: 2, dModel: 64, numHeads: 1, length: 256, batchSize: 8 },
    ...{ steps: 300, evaluationBatches: 60, learningRate: 3e-3 },
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
