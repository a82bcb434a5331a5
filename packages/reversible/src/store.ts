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
    // A scope a step: what the graph does not save dies at once, so that the comparison of memory is fair.
    streams[target] = streams[target]!.engine.scope(() => {
      const increment = context.run(i, () => incrementOf(half, streams[source]!.dequantise(fractionBits)));
      return streams[target]!.add(increment.cast("f32").quantise(fractionBits));
    });
  });
  return streams;
}

/** The same with ordinary f32 streams. */
export function runStoredFloat(steps: readonly HalfStep[], inputs: readonly Tensor[], context: BranchRunner): Tensor[] {
  const streams = inputs.map((x) => refuseFixedPoint(x).cast("f32"));
  steps.forEach((half, i) => {
    const { target, source } = half;
    streams[target] = streams[target]!.engine.scope(() => {
      const increment = context.run(i, () => incrementOf(half, streams[source]!));
      return streams[target]!.add(increment.cast("f32"));
    });
  });
  return streams;
}
