import { type PyramidAttrs, type PyramidLevel, pyramidLevels, ValueError } from "@revnet-zero/tensor";
import { type KeyRun, TileList } from "./tileList.ts";

export interface LadderOptions {
  /** Tokens of the sequence. */
  readonly length: number;
  /** Tokens of a block of queries, and summaries of a tile on every level. */
  readonly leafSize: number;
  /** Tokens that a summary of each level stands for, ascending, each a multiple of the one before. */
  readonly compressionRatios: readonly number[];
  /** Continue with the last quotient for as long as the sequence is long enough. Default false. */
  readonly extendLevels?: boolean;
  /** Default true. */
  readonly isCausal?: boolean;
}

/** One level of the pyramid. The last summary may stand for fewer tokens in a bidirectional ladder; a causal one never sees such. */
export type Level = PyramidLevel;

export interface Ladder extends PyramidAttrs {
  readonly levels: readonly Level[];
  /** Rows of all levels: the keys of the list. */
  readonly rows: number;
  readonly list: TileList;
}

const DEFAULT_RADIX = 4;
/** Queries that a row of the list is for, at most: neighbouring blocks that see the same rows on every level are one, so that keys serve more queries. */
const ROW_QUERIES = 128;

/** Throws unless the ratios make a ladder. */
export function checkLadder(op: string, leafSize: number, ratios: readonly number[]): void {
  if (!Number.isInteger(leafSize) || leafSize < 1)
    throw new ValueError(op, `leafSize is ${leafSize}`, "use a positive number of tokens, such as 32");
  ratios.forEach((ratio, i) => {
    const before = ratios[i - 1] ?? 1;
    if (Number.isInteger(ratio) && ratio > before && ratio % before === 0) return;
    throw new ValueError(
      op,
      `compressionRatios are [${ratios.join(", ")}]`,
      "let each be a greater multiple of the one before, such as [4, 16, 64, 256]",
    );
  });
}

/** The ratios in use, level 0 (ratio 1) first: those given, and with `extends` more, while the list of some block would use them. */
function ratiosFor(blocks: number, given: readonly number[], doesExtend: boolean): number[] {
  const ratios = [1, ...given];
  const radix = given.length === 0 ? DEFAULT_RADIX : ratios[ratios.length - 1]! / ratios[ratios.length - 2]!;
  // A group of the next level is used once two of them lie before a block.
  while (doesExtend && blocks > 2 * radix * ratios[ratios.length - 1]!) ratios.push(radix * ratios[ratios.length - 1]!);
  return ratios;
}

/**
 * The blocks [lo, hi) around block i that are seen on levels up to and including `level`, as blocks: near ones on fine levels, far ones
 * on coarse levels, all on the last. With c the next level's ratio, between one and two groups of c blocks on each side.
 */
function reach(i: number, level: number, ratios: readonly number[], blocks: number): readonly [number, number] {
  const next = ratios[level + 1];
  if (next === undefined) return [0, blocks];
  const group = Math.floor(i / next);
  return [next * Math.max(0, group - 1), Math.min(blocks, next * (group + 2))];
}

/** How many neighbouring blocks, counted from multiples, see the same rows of all levels but for the causal edge: divisors of the first ratio do. */
function blocksAlike(leafSize: number, [first = DEFAULT_RADIX]: readonly number[]): number {
  let count = Math.max(1, Math.floor(ROW_QUERIES / leafSize));
  while (first % count !== 0) count--;
  return count;
}

/**
 * The multi-level partition: for every block of queries, rows of the pyramid that together stand for every token it may see exactly once. Level
 * l holds summaries of `ratio` tokens; a tile of it is `leafSize` of them, that is a group of `ratio` blocks. A query sees at most 2 r leaf
 * blocks and 2 r - 2 tiles of each further level (for ratios r apart): O(leafSize · log n) keys, where the ladder goes on with n.
 * Source: the ladder follows the near and far field of Greengard and Rokhlin 1987; for attention see Zhu and Soricut 2021 (arXiv:2107.11906)
 * and Kang et al. 2023 (arXiv:2310.11960). We differ: radix 4, exact in the counts, one softmax over all levels.
 */
export function makeLadder({
  length,
  leafSize,
  compressionRatios,
  extendLevels = false,
  isCausal = true,
}: LadderOptions): Ladder {
  checkLadder("makeLadder", leafSize, compressionRatios);
  const blocks = Math.ceil(length / leafSize);
  const ratios = ratiosFor(blocks, compressionRatios, extendLevels);
  const used = ratios.filter((ratio, level) => level === 0 || blocks > 2 * ratio);
  const radices = used.slice(1).map((ratio, i) => ratio / used[i]!);
  const levels = pyramidLevels(length, { radices, isWhole: isCausal });
  const rows = levels.reduce((n, level) => n + level.rows, 0);
  /** Rows of a level that stand for blocks [lo, hi). */
  const rowsOf = ({ ratio, offset }: Level, lo: number, hi: number): KeyRun => {
    if (lo >= hi) return { first: offset, end: offset };
    return {
      first: offset + (lo * leafSize) / ratio,
      end: offset + Math.ceil(Math.min(length, hi * leafSize) / ratio),
    };
  };
  const alike = blocksAlike(leafSize, compressionRatios);
  const list = new TileList({ queries: length, keys: rows, blockSize: alike * leafSize }, (row) => {
    const i = row * alike;
    const next = Math.min(blocks, i + alike);
    let [lo, hi] = isCausal ? [next, next] : [i, i];
    return levels.flatMap((level, l) => {
      const [from, end] = reach(i, l, used, blocks);
      const to = isCausal ? next : end;
      // Level 0 is one run: it holds the blocks themselves, whose queries see no later token.
      const runs =
        l === 0
          ? [isCausal ? { ...rowsOf(level, from, to), high: i * leafSize + 1 } : rowsOf(level, from, to)]
          : [rowsOf(level, from, lo), ...(isCausal ? [] : [rowsOf(level, hi, to)])];
      [lo, hi] = [Math.min(lo, from), Math.max(hi, to)];
      return runs;
    });
  });
  return { levels, radices, isWhole: isCausal, rows, list };
}

/** Tokens that row `row` of a level stands for. */
export const tokensOf = ({ ratio }: Level, row: number, length: number): number =>
  Math.min(ratio, length - row * ratio);
