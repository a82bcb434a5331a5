import { Module } from "@revnet-zero/nn";
import { describe, ShapeError, sameShape, type Tensor } from "@revnet-zero/tensor";

/**
 * A part of a coupling: any deterministic map of streams (and of what was passed to the sequence as context, its last
 * argument) to an increment of its target's shape. Randomness must come from the engine's keys (nn's Dropout does), so
 * that a second run is the first one's twin.
 */
// biome-ignore lint/suspicious/noExplicitAny: what follows the first stream is each coupling's own.
export type Branch = Module | ((x: Tensor, ...rest: any[]) => Tensor);

/** Runs a branch on the float values of its source streams, and what else it is to be given. */
export function runBranch(branch: Branch, x: Tensor, ...rest: readonly unknown[]): Tensor {
  return branch instanceof Module ? branch.call(x, ...rest) : branch(x, ...rest);
}

/** The increment, if it has the shape of its stream. Checked here for every mode and run: a float sum would broadcast. */
export function checkIncrement(name: string, increment: Tensor, stream: Tensor): Tensor {
  if (sameShape(stream.shape, increment.shape)) return increment;
  throw new ShapeError(
    "reversible",
    `branch ${name} returned ${describe(increment)}, its stream is ${describe({ shape: stream.shape, dtype: "f32" })}`,
    "F and G must return the shape they are given",
  );
}
