import { Module, type Norm, PreNormBranch } from "@revnet-zero/nn";
import { describe, ShapeError, sameShape, type Tensor } from "@revnet-zero/tensor";

/**
 * A branch of a coupling: any deterministic map of a stream to an increment of the same shape. Randomness must come
 * from the engine's keys (nn's Dropout does), so that a second run is the first one's twin.
 */
export type Branch = Module | ((x: Tensor) => Tensor);

/** `streams[target] += branch(streams[source])`; invertible because the source is left alone. */
export interface HalfStep {
  readonly target: number;
  readonly source: number;
  readonly branch: Branch;
  /** What errors call it. */
  readonly name: string;
}

/**
 * The additive coupling y1 = x1 + F(x2), y2 = x2 + G(y1).
 * Source: Dinh et al. 2014 (arXiv:1410.8516), eq. 8; as a residual block, Gomez et al. 2017 (arXiv:1707.04585), eq. 6.
 */
export interface ReversibleBlock {
  readonly F: Branch;
  readonly G: Branch;
}

export const halfStepsOf = ({ F, G }: ReversibleBlock, index = 0): readonly HalfStep[] => [
  { target: 0, source: 1, branch: F, name: `F of block ${index}` },
  { target: 1, source: 0, branch: G, name: `G of block ${index}` },
];

/** Runs a branch on the float value of its source stream. */
export function runBranch(branch: Branch, x: Tensor): Tensor {
  return branch instanceof Module ? branch.call(x) : branch(x);
}

/** What a branch reads: its source stream's value, or the norm of that which it begins with. */
export type BranchInput = { readonly value: Tensor } | { readonly normalised: Tensor };

/** The norm that a half-step begins with when it reads the stream that the one before it has written. */
export function normAfter(before: HalfStep, next: HalfStep | undefined): Norm | undefined {
  if (next === undefined || next.source !== before.target) return undefined;
  return next.branch instanceof PreNormBranch ? next.branch.norm : undefined;
}

/** What a half-step adds to its target. Checked here for every mode and run: a float sum would broadcast instead. */
export function incrementOf({ branch, name }: HalfStep, input: BranchInput): Tensor {
  const x = "value" in input ? input.value : input.normalised;
  const increment = "value" in input ? runBranch(branch, x) : (branch as PreNormBranch).afterNorm(x);
  if (sameShape(x.shape, increment.shape)) return increment;
  throw new ShapeError(
    "reversible",
    `branch ${name} returned ${describe(increment)}, its stream is ${describe(x)}`,
    "F and G must return the shape they are given",
  );
}
