import { describe, describeAll, ShapeError } from "../errors.ts";
import type { Meta } from "../op.ts";
import { sameShape } from "../shape.ts";

/** Ops of a backward pass are given what their forward op saved and gave: operand i is as `expected[i]` says. */
export function mustBe(name: string, inputs: readonly Meta[], expected: readonly Meta[]): void {
  const bad = expected.findIndex((e, i) => e.dtype !== inputs[i]!.dtype || !sameShape(e.shape, inputs[i]!.shape));
  if (bad < 0) return;
  throw new ShapeError(
    name,
    `operand ${bad} of ${describeAll(inputs)} should be ${describe(expected[bad]!)}`,
    "give what the forward op was given and gave, and a gradient like its output",
  );
}
