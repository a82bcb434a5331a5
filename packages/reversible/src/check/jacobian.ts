import { type Key, type Tensor, tensor } from "@revnet-zero/tensor";
import { storedTwin } from "../modes.ts";
import type { ReversibleSequence } from "../sequence.ts";

/** log |det| of a square matrix, by Gaussian elimination with the largest pivot, in float64. */
export function logAbsDeterminant(matrix: readonly ArrayLike<number>[]): number {
  const rows = matrix.map((row) => Float64Array.from(row));
  let log = 0;
  for (let k = 0; k < rows.length; k++) {
    let pivot = k;
    for (let i = k + 1; i < rows.length; i++) if (Math.abs(rows[i]![k]!) > Math.abs(rows[pivot]![k]!)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    const top = rows[k]!;
    log += Math.log(Math.abs(top[k]!));
    for (const row of rows.slice(k + 1)) {
      const factor = row[k]! / top[k]!;
      for (let j = k; j < row.length; j++) row[j]! -= factor * top[j]!;
    }
  }
  return log;
}

/**
 * |log-determinant - log |det J|| of one sample, with the Jacobian J of all streams row by row through stored
 * backpropagation: O(n) backward passes and n² numbers for n elements.
 */
export async function logDeterminantError(
  sequence: ReversibleSequence,
  inputs: readonly Tensor[],
  { key, context }: { readonly key: Key; readonly context: readonly unknown[] },
): Promise<number> {
  const { engine, shape, size } = inputs[0]!;
  const { mode } = sequence;
  const keyed = <T>(f: () => T): T => engine.withKey(key, f);
  const found = keyed(() => engine.noGrad(() => sequence.transform(inputs[0]!, ...inputs.slice(1), ...context)));
  sequence.mode = storedTwin(mode);
  const rows: number[][] = [];
  for (let row = 0; row < inputs.length * size; row++) {
    const leaves = inputs.map((x) => x.detach().requireGrad());
    engine.scope(() => {
      const output = keyed(() => sequence.call(leaves[0]!, ...leaves.slice(1), ...context))[Math.floor(row / size)]!;
      const one = Float32Array.from({ length: size }, (_, i) => (i === row % size ? 1 : 0));
      output.backward({ gradient: tensor(one, { shape, engine }) });
    });
    const gradients: number[] = [];
    for (const leaf of leaves)
      gradients.push(...(leaf.grad === undefined ? new Array(size).fill(0) : await leaf.grad.data()));
    rows.push(gradients);
    sequence.zeroGrad();
    for (const leaf of leaves) leaf.dispose();
  }
  sequence.mode = mode;
  return Math.abs((await found.logDeterminant.sum().item()) - logAbsDeterminant(rows));
}
