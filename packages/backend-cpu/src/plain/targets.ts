import { ValueError } from "@revnet-zero/tensor";
import type { CpuView } from "../buffer.ts";
import { indicesIn } from "./floats.ts";

/** The targets of a cross-entropy over x `[rows, classes]`. Negative ones do not count; the others must name a class. */
export function checkTargets(x: CpuView, targets: CpuView): Int32Array {
  const classes = Math.max(x.shape[1]!, 1);
  const values = indicesIn(targets);
  const bad = values.findIndex((target) => target >= classes);
  if (bad >= 0)
    throw new ValueError(
      "crossEntropy",
      `target ${values[bad]} at position ${bad} names none of ${classes} classes`,
      "classes count from 0, and negative targets are left out; check the vocabulary size",
    );
  return values;
}
