import { type DType, type Tensor, zeros } from "@revnet-zero/tensor";
import { lacksValues } from "../lacksValues.ts";

// Lists of the few elements that need something kept: what is kept is as long as the list. The length is read on the host, so
// that such a list is for backends that can be read at once, and for those without values, where a usual length is taken for granted.

/** What is taken for granted where there are no values. */
export interface Assumption {
  readonly text: string;
  /** The length of the list, of so many elements. */
  readonly count: (elements: number) => number;
}

/** How many elements of an i32 tensor of zeros and ones are one. */
export function countSelected(selected: Tensor, { text, count }: Assumption): number {
  const { engine, size } = selected;
  return engine.scope(() => {
    const sum = selected.sum();
    if (!lacksValues(engine)) return sum.itemSync();
    engine.backend.assumptions!.add(text);
    return count(size);
  });
}

/** The places of the selected elements in their list: 0, 1, 2, … in row-major order; what others get is of no account. */
function places(selected: Tensor): Tensor {
  return selected.flatten().cumsum(0).sub(1).maximum(0);
}

/** The selected elements' values as a list of `count`, in row-major order. */
export function packSelected(values: Tensor, selected: Tensor, count: number, dtype: DType): Tensor {
  const { engine } = values;
  if (count === 0) return zeros([0], { dtype, engine });
  return engine.scope(() => values.mul(selected).flatten().scatterAdd(places(selected), 0, count).cast(dtype));
}

/** The inverse: an i32 tensor with the list's values at the selected elements and 0 elsewhere. */
export function unpackSelected(list: Tensor, selected: Tensor): Tensor {
  if (list.size === 0) return selected.mul(0);
  return selected.engine.scope(() =>
    list
      .cast("i32")
      .take(places(selected).minimum(list.size - 1))
      .reshape(selected.shape)
      .mul(selected),
  );
}
