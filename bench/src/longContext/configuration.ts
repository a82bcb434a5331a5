import { HierarchicalReversibleAttention, type HierarchicalReversibleAttentionOptions } from "@revnet-zero/attention";
import type { AttentionMaker } from "@revnet-zero/models";
import { Attention } from "@revnet-zero/nn";
import type { TrainingBackend } from "../backends.ts";

export type Task = "text" | "needles";

export interface LongContextRequest {
  readonly task: Task;
  readonly attention: AttentionName;
  readonly seed: number;
  readonly isQuick: boolean;
  readonly backend: TrainingBackend;
}

const hierarchical =
  (more: Partial<HierarchicalReversibleAttentionOptions> = {}) =>
  (leafSize: number): AttentionMaker =>
  (options) =>
    new HierarchicalReversibleAttention({
      ...{ ...options, leafSize, compressionRatios: [4, 16], extendLevels: true },
      ...{ ...more, dModel: options.dim },
    });

/** The attention layers compared, by the tokens of a leaf; all else is equal. The window is as wide as what the hierarchical ones see token by token. */
export const attentions = {
  dense: () => (options) => new Attention(options),
  hierarchical: hierarchical(),
  "hierarchical, learned": hierarchical({ pooling: "learned", levelBias: true }),
  "hierarchical, recall": hierarchical({ recall: { topK: 8, level: 1 } }),
  "hierarchical, recall a query": hierarchical({ recall: { topK: 8, level: 1, queriesPerChoice: 1 } }),
  window: (leafSize) => (options) => new Attention({ ...options, window: 8 * leafSize }),
} satisfies Readonly<Record<string, (leafSize: number) => AttentionMaker>>;
export type AttentionName = keyof typeof attentions;

/** What each task is asked of. */
export const comparisons: Readonly<Record<Task, readonly AttentionName[]>> = {
  text: ["dense", "hierarchical", "hierarchical, learned", "window"],
  needles: ["dense", "hierarchical", "hierarchical, recall", "hierarchical, recall a query"],
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
  /** Tokens of a leaf: so small that the sequences reach the second level of summaries, of 16 tokens. */
  readonly leafSize: number;
}

const full: Readonly<Record<TrainingBackend, Readonly<Record<Task, Budget>>>> = {
  cpu: {
    text: {
      ...{ numLayers: 3, dModel: 64, numHeads: 4, length: 512, batchSize: 4, leafSize: 8 },
      ...{ steps: 200, evaluationBatches: 40, learningRate: 3e-3 },
    },
    needles: {
      ...{ numLayers: 2, dModel: 64, numHeads: 1, length: 256, batchSize: 8, leafSize: 4 },
      ...{ steps: 300, evaluationBatches: 60, learningRate: 3e-3 },
    },
  },
  cuda: {
    text: {
      ...{ numLayers: 4, dModel: 256, numHeads: 4, length: 2048, batchSize: 8, leafSize: 16 },
      ...{ steps: 400, evaluationBatches: 40, learningRate: 1e-3 },
    },
    needles: {
      ...{ numLayers: 2, dModel: 128, numHeads: 2, length: 1024, batchSize: 16, leafSize: 8 },
      ...{ steps: 800, evaluationBatches: 60, learningRate: 2e-3 },
    },
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

export const budgetOf = ({
  task,
  isQuick,
  backend,
}: Pick<LongContextRequest, "task" | "isQuick" | "backend">): Budget => ({
  ...full[backend][task],
  ...(isQuick ? small : {}),
});
