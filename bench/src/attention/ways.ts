import {
  BlockSparse,
  globalBlocks,
  Hierarchical,
  LinearAttention,
  type Mechanism,
  patternList,
  RandomFeatureAttention,
  Tiled,
  type TileList,
  together,
  windowBlocks,
} from "@revnet-zero/attention";
import { type Engine, randomKey, type Tensor } from "@revnet-zero/tensor";

export const size = { heads: 2, dim: 64, leafSize: 32 } as const;

export interface AttentionRequest {
  readonly mechanism: MechanismName;
  readonly tokens: number;
}
export interface AttentionAnswer {
  readonly timeMs: number;
  readonly forwardMs: number;
  /** At the peak, besides queries, keys, values, the gradient of the output and the gradients of the three. */
  readonly peakBytes: number;
  /** Keys and summaries that a query is multiplied with, on average; null for linear ways. */
  readonly keysPerQuery: number | null;
}

const { heads, dim, leafSize } = size;
const hierarchical = { numHeads: heads, headDim: dim, leafSize } as const;
const windowAndGlobal = (queries: number): TileList =>
  patternList(together(windowBlocks(4), globalBlocks(2)), { queries, blockSize: leafSize });

/** The unfused composition: products, a mask and a softmax, one after another. */
class Unfused extends Tiled {
  override forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
    const time = q.shape[2]!;
    return q.engine.scope(() => {
      const place = q.rangeOf(time, "i32");
      const scores = q.matmul(k.transpose()).mul(dim ** -0.5);
      return place.unsqueeze(1).less(place).where(Number.NEGATIVE_INFINITY, scores).softmax(-1).matmul(v);
    });
  }
}

export const mechanisms = {
  unfused: () => new Unfused(),
  tiled: () => new Tiled({ isCausal: true }),
  hierarchical: (engine) => new Hierarchical({ ...hierarchical, engine, extendLevels: true }),
  "hierarchical, 4 levels": (engine) =>
    new Hierarchical({ ...hierarchical, engine, compressionRatios: [4, 16, 64, 256] }),
  "hierarchical, recall": (engine) =>
    new Hierarchical({ ...hierarchical, engine, extendLevels: true, recall: { topK: 4, level: 2 } }),
  "hierarchical, recall a query": (engine) =>
    new Hierarchical({
      ...{ ...hierarchical, engine, extendLevels: true },
      recall: { topK: 4, level: 2, queriesPerChoice: 1 },
    }),
  "window and global": () => new BlockSparse(windowAndGlobal),
  linear: () => new LinearAttention(),
  "random features": (engine) =>
    new RandomFeatureAttention({ headDim: dim, numFeatures: 64, key: randomKey(1), engine }),
} satisfies Readonly<Record<string, (engine: Engine) => Mechanism>>;
export type MechanismName = keyof typeof mechanisms;

/** Keys and summaries that a query is multiplied with, on average; null for linear ways. */
export function keysPerQuery(mechanism: Mechanism, tokens: number): number | null {
  if (mechanism instanceof Hierarchical) {
    const { list, levels } = mechanism.ladderFor(tokens);
    const { topK = 0, level = 0 } = mechanism.recall ?? {};
    return list.pairs / tokens + topK * (levels[level]?.ratio ?? 0);
  }
  if (mechanism instanceof BlockSparse) return windowAndGlobal(tokens).pairs / tokens;
  return mechanism instanceof Tiled ? (tokens + 1) / 2 : null;
}
