/** Rows of queries and columns of keys whose scores a thread holds at once. They decide the order of sums: equal on all tiers. */
export const scoreBlock = { rows: 64, columns: 256 } as const;

export const SCORE_ROW_BYTES: number = 4 * scoreBlock.columns;
const scoreBytes = SCORE_ROW_BYTES * scoreBlock.rows;
const rowBytes = 4 * scoreBlock.rows;

/** Where a thread keeps what, after the scratch of its matrix products. */
export const layout: { readonly [K in "scores" | "slopes" | "tops" | "totals"]: number } = {
  scores: 0,
  slopes: scoreBytes,
  tops: 2 * scoreBytes,
  totals: 2 * scoreBytes + rowBytes,
};

export const ATTENTION_SCRATCH_BYTES: number = 2 * (scoreBytes + rowBytes);
