import type { LayerOptions } from "@revnet-zero/nn";
import { defaultEngine, type Tensor, ValueError, zeros } from "@revnet-zero/tensor";
import { type Attended, sparseAttention } from "./attend.ts";
import { checkLadder, type Ladder, makeLadder } from "./ladder.ts";
import { LearnedPooling } from "./learnedPooling.ts";
import { Mechanism } from "./mechanism.ts";
import { buildPyramid, levelNumbers, logCounts, meanPooling, type Pooling, type Pyramid } from "./pyramid.ts";
import { joinAttended, RecallBranch, type RecallOptions } from "./recall.ts";

export interface HierarchicalOptions extends LayerOptions {
  readonly numHeads: number;
  /** Default numHeads. */
  readonly numKeyValueHeads?: number;
  readonly headDim: number;
  /** Tokens of a block of queries, and summaries of a tile on every level. Default 32. */
  readonly leafSize?: number;
  /** Levels above the tokens. Default: as many as there are ratios, or 4. */
  readonly numLevels?: number;
  /** Tokens that a summary of each level stands for. Default [4, 16, 64, 256, ...]. */
  readonly compressionRatios?: readonly number[];
  /**
   * Continue the ladder with n: O(n log n). Without it the last level has n / ratio summaries, all of which every query sees: O(n² / ratio)
   * far beyond it. Default false.
   */
  readonly extendLevels?: boolean;
  /** Default true. */
  readonly isCausal?: boolean;
  /** How summaries are made. Default "mean". */
  readonly pooling?: "mean" | "learned";
  /** A learned number for every head and level, added to the scores; it starts at 0. Default false. */
  readonly levelBias?: boolean;
  /** Attend to the tokens of a few far groups too, chosen for every query by the scores of their summaries. Default: no. */
  readonly recall?: RecallOptions;
}

/** Levels that a learned bias knows of: 4^16 tokens and a leaf. */
const MOST_LEVELS = 17;

/** Defaults filled in: so many ratios, a factor of 4 apart from the last one given on. */
export function resolveRatios(
  op: string,
  { numLevels, compressionRatios }: Pick<HierarchicalOptions, "numLevels" | "compressionRatios">,
): number[] {
  const count = numLevels ?? compressionRatios?.length ?? 4;
  if (!Number.isInteger(count) || count < 0)
    throw new ValueError(op, `numLevels is ${count}`, "use the number of levels above the tokens");
  const ratios = [...(compressionRatios ?? [])];
  if (ratios.length > count) {
    throw new ValueError(
      op,
      `numLevels is ${count}, compressionRatios are [${ratios.join(", ")}]`,
      "leave one of them out, or give no more ratios than levels",
    );
  }
  while (ratios.length < count) ratios.push(4 * (ratios[ratios.length - 1] ?? 1));
  return ratios;
}

/**
 * Attention to near tokens one by one and to far ones in summaries, the coarser the farther, with one softmax over all of them: a summary of m
 * tokens counts as m (log m is added to its score). For every query the summaries and tokens are an exact partition of what it may see.
 */
export class Hierarchical extends Mechanism {
  readonly leafSize: number;
  readonly compressionRatios: readonly number[];
  readonly extendLevels: boolean;
  readonly isCausal: boolean;
  readonly pooling: LearnedPooling | undefined;
  /** `[1, numHeads, levels]`; level 0 is the tokens. */
  readonly levelBias: Tensor | undefined;
  readonly recall: RecallBranch | undefined;
  #ladder: Ladder | undefined;

  constructor(options: HierarchicalOptions) {
    super();
    const {
      numHeads,
      numKeyValueHeads = numHeads,
      headDim,
      leafSize = 32,
      engine = defaultEngine(),
      dtype = "f32",
    } = options;
    const ratios = resolveRatios("Hierarchical", options);
    checkLadder("Hierarchical", leafSize, ratios);
    this.leafSize = leafSize;
    this.compressionRatios = ratios;
    this.extendLevels = options.extendLevels ?? false;
    this.isCausal = options.isCausal ?? true;
    const radices = ratios.map((ratio, i) => ratio / (ratios[i - 1] ?? 1));
    const mostRows = Math.max(4, ...radices);
    this.pooling =
      options.pooling === "learned"
        ? new LearnedPooling({ numKeyValueHeads, headDim, mostRows, engine, dtype })
        : undefined;
    const levels = this.extendLevels ? Math.max(MOST_LEVELS, ratios.length + 1) : ratios.length + 1;
    this.levelBias =
      options.levelBias === true ? this.parameter(zeros([1, numHeads, levels], { engine, dtype })) : undefined;
    this.recall = options.recall === undefined ? undefined : new RecallBranch(options.recall, this);
  }

  /** The partition for a sequence of so many tokens. */
  ladderFor(length: number): Ladder {
    if (this.#ladder?.list.queries !== length) this.#ladder = makeLadder({ ...this.#shape, length });
    return this.#ladder;
  }
  get #shape() {
    const { leafSize, compressionRatios, extendLevels, isCausal } = this;
    return { leafSize, compressionRatios, extendLevels, isCausal };
  }

  get pool(): Pooling {
    return this.pooling ?? meanPooling;
  }

  override forward(q: Tensor, k: Tensor, v: Tensor): Tensor {
    return q.engine.scope(() => {
      const ladder = this.ladderFor(q.shape[2]!);
      const pyramid = buildPyramid(k, v, ladder, this.pool);
      const all = this.#attend(q, pyramid, ladder);
      if (this.recall === undefined) return all.output;
      const recalled = this.recall.call(q, k, v, pyramid, ladder);
      return recalled === undefined ? all.output : joinAttended(all, recalled);
    });
  }

  #attend(q: Tensor, { keys, values }: Pyramid, ladder: Ladder): Attended {
    const counts = logCounts(q, ladder, q.shape[2]!);
    const { levelBias } = this;
    const bias =
      levelBias === undefined ? counts : counts.add(levelBias.cast(counts.dtype).take(levelNumbers(q, ladder), 2));
    return sparseAttention(q, keys, values, ladder.list, { bias: { kind: "key", values: bias } });
  }
}
