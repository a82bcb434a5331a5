import { describe, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { CoupledBlock } from "../block.ts";
import { type Branch, runBranch } from "../branch.ts";
import { type ScaleParts, scale } from "../steps/scale.ts";

export interface AffineOptions {
  /** Of the second stream [..., dim], what the first is scaled by and receives: `[..., 2 dim]`, log-scale then shift. */
  readonly F: Branch;
  /** The same of the first stream, for the second. */
  readonly G: Branch;
  /** c: a stream grows or shrinks at most e^c-fold a step. Default 2. */
  readonly bound?: number;
}

/**
 * y1 = x1 · exp(s(x2)) + t(x2), y2 = x2 · exp(s(y1)) + t(y1), with s = c tanh(raw / c) and (raw, t) the two halves of what
 * a branch returns. The log-determinant is Σ s.
 * Source: Dinh et al. 2017 (arXiv:1605.08803), section 3. We differ: s is bounded, as FrEIA's `clamp` does, which also
 * bounds what one step does to an error.
 */
export function affine(options: AffineOptions): AffineOptions & CoupledBlock {
  const { F, G, bound = 2 } = options;
  if (!(bound > 0)) throw new ValueError("affine", `bound is ${bound}`, "use a positive number");
  const half = (target: number, source: number, branch: Branch, name: string) =>
    scale({
      target,
      sources: [source],
      branches: [branch],
      name,
      parts: (x, ...rest) => affineParts(name, branch, bound, x as Tensor, rest),
    });
  return { ...options, coupling: "affine", streams: 2, program: [half(0, 1, F, "F"), half(1, 0, G, "G")] };
}

function affineParts(name: string, branch: Branch, bound: number, x: Tensor, rest: readonly unknown[]): ScaleParts {
  const both = runBranch(branch, x, ...rest).cast("f32");
  const dim = x.shape.at(-1);
  if (dim === undefined || both.rank !== x.rank || both.shape.at(-1) !== 2 * dim) {
    throw new ShapeError(
      "affine",
      `branch ${name} returned ${describe(both)} for ${describe(x)}`,
      "return twice as many channels: log-scales, then shifts",
    );
  }
  const [raw, shift] = both.split(2, -1) as [Tensor, Tensor];
  const logFactor = raw.div(bound).tanh().mul(bound);
  return { factor: logFactor.exp(), logFactor, shift };
}
