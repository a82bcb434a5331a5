import type { Tensor } from "@revnet-zero/tensor";
import { refuseFixedPoint } from "./arithmetic.ts";
import { type HalfStep, incrementOf } from "./block.ts";
import type { BranchRunner } from "./context.ts";

/**
 * Ordinary backpropagation of the same function, written with plain recorded ops: every activation is stored, nothing
 * is reconstructed. The oracle of the reconstructing modes; it shares no code with them.
 */
export function runStored(
  steps: readonly HalfStep[],
  inputs: readonly Tensor[],
  fractionBits: number,
  context: BranchRunner,
): Tensor[] {
  const streams = [...inputs];
  steps.forEach((half, i) => {
    const { target, source } = half;
    const before = streams[target]!;
    // A scope a step: what the graph does not save dies at once, so that the comparison of memory is fair.
    streams[target] = before.engine.scope(() => {
      const increment = context.run(i, () => incrementOf(half, { value: streams[source]!.dequantise(fractionBits) }));
      return before.add(increment.cast("f32").quantise(fractionBits));
    });
    if (!inputs.includes(before)) before.dispose();
  });
  return streams;
}

/** The same with ordinary f32 streams. */
export function runStoredFloat(steps: readonly HalfStep[], inputs: readonly Tensor[], context: BranchRunner): Tensor[] {
  const floats = inputs.map((x) => refuseFixedPoint(x).cast("f32"));
  const streams = [...floats];
  steps.forEach((half, i) => {
    const { target, source } = half;
    const before = streams[target]!;
    streams[target] = before.engine.scope(() => {
      const increment = context.run(i, () => incrementOf(half, { value: streams[source]! }));
      return before.add(increment.cast("f32"));
    });
    if (!floats.includes(before)) before.dispose();
  });
  return streams;
}
