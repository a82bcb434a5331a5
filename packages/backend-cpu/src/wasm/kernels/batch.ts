import type { Layout } from "@revnet-zero/tensor";

/** An operand's steps over the batch axes of the result: 0 where it is broadcast. */
export function batchSteps({ shape, strides }: Layout, batch: readonly number[]): number[] {
  const lead = batch.length - (shape.length - 2);
  return batch.map((_, d) => (d < lead || shape[d - lead] === 1 ? 0 : strides[d - lead]!));
}

/** The one step from each matrix of the batch to the next, if all are equal. */
export function uniform(steps: readonly number[], batch: readonly number[]): number | undefined {
  let step: number | undefined;
  let inner = 1;
  for (let d = batch.length - 1; d >= 0; d--) {
    if (batch[d] !== 1) {
      step ??= steps[d]! / inner;
      if (steps[d] !== step * inner) return undefined;
    }
    inner *= batch[d]!;
  }
  return step ?? 0;
}

/** The offset of matrix `index` of a batch. */
export function stepTo(index: number, batch: readonly number[], steps: readonly number[]): number {
  let at = 0;
  for (let d = batch.length - 1, rest = index; d >= 0; d--) {
    at += (rest % batch[d]!) * steps[d]!;
    rest = Math.floor(rest / batch[d]!);
  }
  return at;
}
