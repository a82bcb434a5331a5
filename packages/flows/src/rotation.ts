import { type Key, randomWord } from "@revnet-zero/tensor";

// Small dense matrices on the host, in float64, row-major: what a layer's first values are made from.

/**
 * An orthogonal matrix drawn uniformly (Haar measure): modified Gram-Schmidt, twice, of normal rows. Twice is enough: orthogonal to
 * some units of float64 (Giraud, Langou, Rozložník & van den Eshof 2005).
 */
export function randomOrthogonal(n: number, key: Key): Float64Array {
  const q = Float64Array.from({ length: n * n }, (_, i) => normalAt(key, i));
  for (let i = 0; i < n; i++) {
    const row = q.subarray(i * n, (i + 1) * n);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = q.subarray(j * n, (j + 1) * n);
        const along = dot(row, other);
        for (let k = 0; k < n; k++) row[k]! -= along * other[k]!;
      }
    }
    const length = Math.sqrt(dot(row, row));
    for (let k = 0; k < n; k++) row[k]! /= length;
  }
  return q;
}

export interface PivotedLU {
  /** L below the diagonal (its own is 1), U on and above it. */
  readonly packed: Float64Array;
  /** Row i of L·U is row `rows[i]` of the matrix. */
  readonly rows: readonly number[];
}

/** Gaussian elimination with partial pivoting. The matrix must be invertible. */
export function factorise(matrix: Float64Array, n: number): PivotedLU {
  const packed = matrix.slice();
  const rows = Array.from({ length: n }, (_, i) => i);
  const at = (i: number, j: number): number => packed[i * n + j]!;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(at(i, k)) > Math.abs(at(pivot, k))) pivot = i;
    if (pivot !== k) {
      const row = packed.slice(k * n, (k + 1) * n);
      packed.copyWithin(k * n, pivot * n, (pivot + 1) * n);
      packed.set(row, pivot * n);
      [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    }
    for (let i = k + 1; i < n; i++) {
      const factor = at(i, k) / at(k, k);
      packed[i * n + k] = factor;
      for (let j = k + 1; j < n; j++) packed[i * n + j]! -= factor * at(k, j);
    }
  }
  return { packed, rows };
}

/** Number i of a normal stream (Box-Muller of two words). */
function normalAt(key: Key, i: number): number {
  const [u, v] = [randomWord(key, 2 * i), randomWord(key, 2 * i + 1)];
  return Math.sqrt(-2 * Math.log((u + 1) / 2 ** 32)) * Math.cos((2 * Math.PI * v) / 2 ** 32);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}
