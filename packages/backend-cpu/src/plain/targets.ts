import type { CpuView } from "../buffer.ts";
import { checkedIndices } from "../reference/gather.ts";
import { indicesIn } from "./floats.ts";

/** The targets of a cross-entropy over x `[rows, classes]`. Negative ones do not count; the others must name a class. */
export function checkTargets(x: CpuView, targets: CpuView): Int32Array {
  const classes = Math.max(x.shape[1]!, 1);
  const values = indicesIn(targets);
  if (values.some((c) => c >= classes)) checkedIndices("crossEntropy", targets, classes);
  return values;
}
