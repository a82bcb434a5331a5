import { type Engine, fromWords, RUN_WORDS, type Tensor, ValueError } from "@revnet-zero/tensor";

/** No edge: every query of a block sees the whole run. */
export const NO_EDGE: number = 2 ** 30;

/** Neighbouring keys that a block of queries sees: query r of the block sees c of [first, end) with low + r <= c < high + r. */
export interface KeyRun {
  readonly first: number;
  readonly end: number;
  /** Default: no lower edge. */
  readonly low?: number;
  /** Default: no upper edge. */
  readonly high?: number;
}

export interface TileListOptions {
  /** Queries and keys of a sequence. */
  readonly queries: number;
  readonly keys: number;
  /** Queries that share a row of the list. */
  readonly blockSize: number;
  /** Number of lists: one a sequence of the batch. Default 1, for all. */
  readonly batch?: number;
}

/**
 * Which keys each block of queries attends to, as runs: what `sparseAttention` is driven by. Any pattern is such a list; its cost is the
 * keys in it. Made on the host, once a shape.
 */
export class TileList {
  readonly queries: number;
  readonly keys: number;
  readonly blockSize: number;
  readonly batch: number;
  readonly blocks: number;
  /** Runs that every row has room for. */
  readonly slots: number;
  /** Keys in the runs of one row, at most. */
  readonly mostKeys: number;
  /** Pairs of a query and a key that it sees: attention's cost. */
  readonly pairs: number;
  /** [batch, 1, blocks, slots, 4] */
  readonly words: Int32Array;

  constructor(
    { queries, keys, blockSize, batch = 1 }: TileListOptions,
    runsOf: (block: number, batch: number) => readonly KeyRun[],
  ) {
    for (const [name, value] of Object.entries({ queries, keys, blockSize, batch })) {
      if (Number.isInteger(value) && value > 0) continue;
      throw new ValueError("TileList", `${name} is ${value}`, "use a positive integer");
    }
    this.queries = queries;
    this.keys = keys;
    this.blockSize = blockSize;
    this.batch = batch;
    this.blocks = Math.ceil(queries / blockSize);
    const rows = Array.from({ length: batch * this.blocks }, (_, i) =>
      runsOf(i % this.blocks, Math.floor(i / this.blocks)).filter(({ first, end }) => end > first),
    );
    for (const { first, end } of rows.flat()) {
      if (first >= 0 && end <= keys) continue;
      throw new ValueError("TileList", `a run [${first}, ${end}) lies outside of ${keys} keys`, "clip it");
    }
    const counts = rows.map((runs) => runs.reduce((n, { first, end }) => n + end - first, 0));
    this.slots = rows.reduce((n, runs) => Math.max(n, runs.length), 1);
    this.mostKeys = counts.reduce((a, b) => Math.max(a, b), 1);
    this.pairs = rows
      .flatMap((runs, i) => runs.map((run) => pairsOf(run, this.#rows(i % this.blocks))))
      .reduce((a, b) => a + b, 0);
    this.words = new Int32Array(rows.length * this.slots * RUN_WORDS);
    rows.forEach((runs, row) => {
      runs.forEach(({ first, end, low = -NO_EDGE, high = NO_EDGE }, slot) => {
        this.words.set([first, end, low, high], (row * this.slots + slot) * RUN_WORDS);
      });
    });
  }

  #rows(block: number): number {
    return Math.min(this.blockSize, this.queries - block * this.blockSize);
  }

  /** As the op takes it: i32 `[batch, 1, blocks, slots, 4]`. */
  on(engine: Engine): Tensor {
    const shape = [this.batch, 1, this.blocks, this.slots, RUN_WORDS];
    return fromWords(this.words, shape, "i32", engine);
  }

  /** How often query i sees key j, [queries · keys] of one sequence: for tests and small pictures, not for long sequences. */
  counts(batch = 0): Uint8Array {
    const seen = new Uint8Array(this.queries * this.keys);
    for (let i = 0; i < this.queries; i++) {
      const [block, r] = [Math.floor(i / this.blockSize), i % this.blockSize];
      for (let slot = 0; slot < this.slots; slot++) {
        const at = ((batch * this.blocks + block) * this.slots + slot) * RUN_WORDS;
        const [first, end, low, high] = this.words.subarray(at, at + RUN_WORDS) as unknown as number[];
        for (let c = Math.max(first!, low! + r); c < Math.min(end!, high! + r); c++) seen[i * this.keys + c]!++;
      }
    }
    return seen;
  }
}

/** Keys of a run that each of the first `rows` queries of a block sees, together. */
function pairsOf({ first, end, low = -NO_EDGE, high = NO_EDGE }: KeyRun, rows: number): number {
  if (low + rows - 1 <= first && end <= high) return rows * (end - first);
  let pairs = 0;
  for (let r = 0; r < rows; r++) pairs += Math.max(0, Math.min(end, high + r) - Math.max(first, low + r));
  return pairs;
}
