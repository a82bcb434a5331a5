import { type CoupledBlock, permute } from "../block.ts";
import { add } from "../steps/add.ts";
import { combine } from "../steps/combine.ts";
import type { OneBranchOptions } from "./midpoint.ts";
import { scaledBranch } from "./scaledBranch.ts";

/**
 * The leapfrog rule of x'' = f(x) on the streams (x[k-1], x[k]): x[k+1] = 2 x[k] - x[k-1] + h² f(x[k]).
 * Values grow with the depth of the network where nothing in f pulls back: watch `health()` for wrapped sums.
 * Source: Chang et al. 2018 (arXiv:1709.03698); "Reversing Large Language Models" 2025 (arXiv:2512.02056).
 */
export function leapfrog({ f, stepSize = 1 }: OneBranchOptions): OneBranchOptions & CoupledBlock {
  return {
    f,
    stepSize,
    coupling: "leapfrog",
    streams: 2,
    program: [
      combine({ target: 0, sign: -1, terms: [{ source: 1, times: 2 }] }),
      add({ target: 0, sources: [1], branch: scaledBranch(f, stepSize ** 2), name: "f" }),
      permute(1, 0),
    ],
  };
}
