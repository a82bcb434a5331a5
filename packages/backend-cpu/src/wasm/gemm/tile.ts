/** What a matrix product keeps in registers: `rows` x `columns` sums, `unroll` steps of k written out. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly unroll: number;
}

/** Rows of packed A, steps of k, columns of packed B: A stays in L2, a panel of B in L1. Equal on all tiers: k's blocks decide the bits. */
export const block = { rows: 192, k: 256, columns: 2048 } as const;

/** Bytes that one thread needs: a tile for the edges, packed A, packed B. */
export function gemmScratchBytes({ rows, columns }: Tile): number {
  return edgeBytes + 4 * block.k * (block.rows + rows + block.columns + columns);
}
export const edgeBytes = 4096;

/** A part of B that all threads pack together and read: so much of its k, and as many columns as fit. */
export const shared: { readonly bytes: number; readonly k: number } = { bytes: 4 * 2 ** 20, k: 64 * block.k };
