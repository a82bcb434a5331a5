/** log |det A| of a row-major n x n matrix by Gaussian elimination with row pivoting, in float64: the oracle, so written apart. */
export function logAbsoluteDeterminant(matrix: Float64Array, n: number): number {
  const rows = Array.from({ length: n }, (_, i) => [...matrix.subarray(i * n, (i + 1) * n)]);
  let total = 0;
  for (let k = 0; k < n; k++) {
    const order = rows.slice(k).sort((a, b) => Math.abs(b[k]!) - Math.abs(a[k]!));
    rows.splice(k, n - k, ...order);
    const pivot = rows[k]!;
    total += Math.log(Math.abs(pivot[k]!));
    for (const row of rows.slice(k + 1)) {
      const factor = row[k]! / pivot[k]!;
      for (let j = k; j < n; j++) row[j]! -= factor * pivot[j]!;
    }
  }
  return total;
}
