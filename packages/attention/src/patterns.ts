import { type Key, randomWord, ValueError } from "@revnet-zero/tensor";
import { type KeyRun, NO_EDGE, TileList } from "./tileList.ts";

/** The blocks of keys that a block of queries attends to, of `blocks` that there are; order and repetition do not matter. */
export type Pattern = (queryBlock: number, blocks: number) => Iterable<number>;

/** Every block. */
export const everyBlock: Pattern = (_, blocks) => range(0, blocks);

/** The `size` nearest blocks on either side, and one's own. */
export const windowBlocks =
  (size: number): Pattern =>
  (i, blocks) =>
    range(Math.max(0, i - size), Math.min(blocks, i + size + 1));

/** The first `count` blocks for everybody, and everything for them. Source: Beltagy et al. 2020 (arXiv:2004.05150), "global attention". */
export const globalBlocks =
  (count: number): Pattern =>
  (i, blocks) =>
    i < count ? range(0, blocks) : range(0, Math.min(count, blocks));

/** Every `stride`-th block, counted back from one's own. Source: Child et al. 2019 (arXiv:1904.10509), section 4.3. */
export const stridedBlocks =
  (stride: number): Pattern =>
  (i, blocks) =>
    range(0, blocks).filter((j) => (i - j) % stride === 0);

/** `count` blocks drawn for each block of queries, before it where `isCausal`. Source: Zaheer et al. 2020 (arXiv:2007.14062), section 2. */
export const randomBlocks =
  ({
    count,
    key,
    isCausal = true,
  }: {
    readonly count: number;
    readonly key: Key;
    readonly isCausal?: boolean;
  }): Pattern =>
  (i, blocks) => {
    const among = isCausal ? i + 1 : blocks;
    return Array.from({ length: count }, (_, n) => (randomWord(key, i * count + n) >>> 0) % among);
  };

/** Blocks of several patterns. */
export const together =
  (...patterns: readonly Pattern[]): Pattern =>
  (i, blocks) =>
    patterns.flatMap((p) => [...p(i, blocks)]);

/** Tiles that the user names: pairs [block of queries, block of keys]. */
export function namedTiles(tiles: Iterable<readonly [number, number]>): Pattern {
  const byQuery = new Map<number, number[]>();
  for (const [i, j] of tiles) byQuery.set(i, [...(byQuery.get(i) ?? []), j]);
  return (i) => byQuery.get(i) ?? [];
}

export interface PatternOptions {
  readonly queries: number;
  /** Default: as many as queries. */
  readonly keys?: number;
  /** Queries, and keys, of a block. */
  readonly blockSize: number;
  /** Query i sees keys up to i + (keys - queries), whatever the pattern. Default true. */
  readonly isCausal?: boolean;
}

/** A pattern of blocks as a list: neighbouring blocks are one run, and a causal edge is drawn inside of the last. */
export function patternList(pattern: Pattern, options: PatternOptions): TileList {
  const { queries, keys = queries, blockSize, isCausal = true } = options;
  if (isCausal && keys < queries) {
    throw new ValueError(
      "patternList",
      `with a causal mask the first ${queries - keys} of ${queries} queries see none of ${keys} keys`,
      "give at least as many keys as queries",
    );
  }
  const blocks = Math.ceil(keys / blockSize);
  return new TileList({ queries, keys, blockSize }, (i) => {
    const edge = i * blockSize + keys - queries + 1;
    // The last of the block's queries sees so far.
    const end = isCausal ? Math.min(keys, edge + Math.min(blockSize, queries - i * blockSize) - 1) : keys;
    const wanted = [...new Set(pattern(i, blocks))].filter((j) => j >= 0 && j < blocks).sort((a, b) => a - b);
    return joined(wanted).flatMap(([first, last]): KeyRun[] => {
      const run = { first: first * blockSize, end: Math.min(end, last * blockSize) };
      if (run.end <= run.first) return [];
      return [isCausal && run.end > edge ? { ...run, high: edge } : run];
    });
  });
}

/** Ascending numbers as ranges [first, end). */
function joined(sorted: readonly number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const j of sorted) {
    const last = ranges[ranges.length - 1];
    if (last !== undefined && last[1] === j) last[1]++;
    else ranges.push([j, j + 1]);
  }
  return ranges;
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

export interface MaskOptions {
  readonly queries: number;
  readonly keys: number;
  readonly isCausal?: boolean;
  /** With a causal mask: how many keys a query sees, its own included. */
  readonly window?: number | undefined;
  /** Keys of each sequence of the batch that are there; the others are padding. Default: all. */
  readonly keyLengths?: readonly number[] | undefined;
  /** Default 48. */
  readonly blockSize?: number;
}

/** A mask as a list of one run a block, for sequences of their own lengths: as long as the sequence, not its square. */
export function maskList({
  queries,
  keys,
  isCausal = false,
  window,
  keyLengths,
  blockSize = 48,
}: MaskOptions): TileList {
  const batch = keyLengths?.length ?? 1;
  return new TileList({ queries, keys, blockSize, batch }, (i, n) => {
    const rows = Math.min(blockSize, queries - i * blockSize);
    const there = keyLengths?.[n] ?? keys;
    if (!Number.isInteger(there) || there < 0 || there > keys)
      throw new ValueError("maskList", `keyLengths[${n}] is ${there} of ${keys} keys`, "count the keys that are there");
    if (!isCausal) return [{ first: 0, end: there }];
    const high = i * blockSize + keys - queries + 1;
    const low = window === undefined ? -NO_EDGE : high - window;
    return [{ first: Math.max(0, low), end: Math.min(there, high + rows - 1), low, high }];
  });
}
