import { dispatch, ops, type Tensor } from "@revnet-zero/tensor";
import type { Term } from "./arithmetic.ts";

const donating = { donates: true };

/** sign · stream + Σ times · source in the streams' own type (integers wrap), written over the stream where possible. */
export function combineTerms(stream: Tensor, sign: 1 | -1, terms: readonly Term[]): Tensor {
  const { engine } = stream;
  let sum = stream;
  const next = (op: typeof ops.add, inputs: Tensor[]): void => {
    const [result] = dispatch(engine, op, inputs, undefined, donating);
    sum.dispose();
    sum = result!;
  };
  if (sign === -1) next(ops.neg, [sum]);
  for (const { stream: source, times } of terms) {
    if (Math.abs(times) === 1) next(times === 1 ? ops.add : ops.sub, [sum, source]);
    else {
      const multiple = source.mul(times);
      next(ops.add, [sum, multiple]);
      multiple.dispose();
    }
  }
  return sum;
}

/** The terms that undo `terms` under the same sign: x = sign · y - sign · Σ times · source. */
export const opposite = (sign: 1 | -1, terms: readonly Term[]): Term[] =>
  terms.map(({ stream, times }) => ({ stream, times: -sign * times }));
