import { promote } from "../dtype.ts";
import { isContiguous } from "../layout.ts";
import type { MemoryCategory } from "../memory/ledger.ts";
import { makeTensor } from "../tensor/link.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** A second handle on the same value that no scope owns. */
export function ownedAlias(t: Tensor): Tensor {
  const { engine, layout, dtype, edge } = t;
  return makeTensor({
    engine,
    storage: t.storage.retain(),
    layout,
    dtype,
    isScoped: false,
    ...(edge === undefined ? {} : { edge }),
  });
}

/** Takes a handle out of its scope: its new owner disposes it. */
export function unscope(t: Tensor): Tensor {
  t.engine.scopes.top?.owned.delete(t);
  return t;
}

/**
 * `sum + gradient` as a handle no scope owns; `sum` is given up, `gradient` is not. In place where `sum` is the only
 * owner of its buffer and the pass is not recorded: a running total needs no second buffer.
 */
export function accumulate(
  sum: Tensor | undefined,
  gradient: Tensor,
  createGraph: boolean,
  category?: MemoryCategory,
): Tensor {
  if (sum === undefined) {
    // A leaf's gradient outlives the pass: it must own its bytes, not share those of an activation.
    const isShared = gradient.storage.references > 1 || !isContiguous(gradient.layout);
    if (category === undefined || createGraph) return ownedAlias(gradient);
    const own = isShared ? unscope(gradient.clone()) : ownedAlias(gradient);
    own.storage.category = category;
    return own;
  }
  // One of them may have come in a wider type (`OpBase.widerGradient`), which the total then has.
  const type = promote(sum.dtype, gradient.dtype);
  const [before, added] = [sum.cast(type), gradient.cast(type)];
  const total = unscope(createGraph ? before.add(added) : before.addDonating(added));
  if (category !== undefined) total.storage.category = category;
  sum.dispose();
  return total;
}
