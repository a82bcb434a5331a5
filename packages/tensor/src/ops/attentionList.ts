// What a list of runs and a bias mean: said once, for the op, its parts and the kernels.

/**
 * What is added to a score: a number for its key `[1|b, 1|h, s]`; for the distance key - query `[1|b, 1|h, t + s - 1]`, entry t - 1 being
 * distance 0; or for the pair `[1|b, 1|h, t · s]`.
 */
export type AttentionBias = "key" | "relative" | "full";

export interface SparseAttentionAttrs {
  /** Factor on q · k, usually 1 / sqrt(dim). */
  readonly scale: number;
  /** Queries that share a row of the list. */
  readonly blockSize: number;
  /** Keys in the runs of one row of the list, at most: further ones may be passed over. */
  readonly mostKeys: number;
  /** How the last operand is read, where there is a bias. */
  readonly bias?: AttentionBias;
}

/** Words of a run: first key, end, and the band: query r of the block sees keys [low + r, high + r) of [first, end). */
export const RUN_WORDS = 4;

/** Elements of a bias, and how far one query and one key step in it. */
export function biasSteps(
  bias: AttentionBias,
  t: number,
  s: number,
): { readonly size: number; readonly query: number; readonly key: number; readonly first: number } {
  if (bias === "key") return { size: s, query: 0, key: 1, first: 0 };
  if (bias === "relative") return { size: t + s - 1, query: -1, key: 1, first: t - 1 };
  return { size: t * s, query: s, key: 1, first: 0 };
}
