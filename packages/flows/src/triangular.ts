import { type CreateOptions, type Tensor, tensor } from "@revnet-zero/tensor";

type Rule = (row: number, column: number) => boolean;

/** 1 where the rule holds, else 0: `[n, n]`. */
export const maskOf = (n: number, rule: Rule, options: CreateOptions): Tensor =>
  tensor(
    Float64Array.from({ length: n * n }, (_, i) => Number(rule(Math.floor(i / n), i % n))),
    { ...options, shape: [n, n] },
  );

/**
 * For `invertUnitLower`: where the lower left quarters of diagonal blocks lie, blocks of 2, 4, 8, ... rows until one covers all.
 */
export function quarterMasks(n: number, options: CreateOptions): Tensor[] {
  const masks: Tensor[] = [];
  for (let half = 1; half < n; half *= 2) {
    const isQuarter: Rule = (r, c) =>
      Math.floor(r / (2 * half)) === Math.floor(c / (2 * half)) && r % (2 * half) >= half && c % (2 * half) < half;
    masks.push(maskOf(n, isQuarter, options));
  }
  return masks;
}

/**
 * The inverse of a unit lower triangular matrix `[n, n]`, by doubling: with X the inverse of the diagonal blocks of k rows,
 * X - X Q X is that of the blocks of 2k rows, Q being their lower left quarters ([[A, 0], [C, B]]⁻¹ = [[A⁻¹, 0], [-B⁻¹CA⁻¹, B⁻¹]]).
 * log₂ n steps of two products; sums in the dtype.
 * Compare Higham 2002, "Accuracy and stability of numerical algorithms", section 14.2.2 (inversion by blocks).
 */
export function invertUnitLower(lower: Tensor, identity: Tensor, quarters: readonly Tensor[]): Tensor {
  return quarters.reduce((x, mask) => x.sub(x.matmul(lower.mul(mask)).matmul(x)), identity);
}
