/**
 * Queries and keys whose scores a thread holds at once, key after key. Multiples of every tile. The keys decide the order of sums:
 * equal on all tiers.
 */
export const scoreBlock = { queries: 48, keys: 240 } as const;

/** From one key's scores to the next. */
export const KEY_BYTES: number = 4 * scoreBlock.queries;
const scoreBytes = KEY_BYTES * scoreBlock.keys;

/** Where a thread keeps what, after the scratch of its matrix products: two matrices of scores, three rows of a float a query. */
export const layout: { readonly [K in "scores" | "slopes" | "tops" | "totals" | "fades"]: number } = {
  scores: 0,
  slopes: scoreBytes,
  tops: 2 * scoreBytes,
  totals: 2 * scoreBytes + KEY_BYTES,
  fades: 2 * scoreBytes + 2 * KEY_BYTES,
};

export const ATTENTION_SCRATCH_BYTES: number = 2 * scoreBytes + 3 * KEY_BYTES;
