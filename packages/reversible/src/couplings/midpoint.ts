import { type CoupledBlock, permute } from "../block.ts";
import type { Branch } from "../branch.ts";
import { add } from "../steps/add.ts";
import { scaledBranch } from "./scaledBranch.ts";

export interface OneBranchOptions {
  readonly f: Branch;
  /** h. Default 1. */
  readonly stepSize?: number;
}

/**
 * The explicit midpoint rule on the streams (x[k-1], x[k]): x[k+1] = x[k-1] + 2h f(x[k]), of which h f is rounded once.
 * Source: "Reversing Large Language Models" 2025 (arXiv:2512.02056); Chang et al. 2018 (arXiv:1709.03698).
 */
export function midpoint({ f, stepSize = 1 }: OneBranchOptions): OneBranchOptions & CoupledBlock {
  return {
    f,
    stepSize,
    coupling: "midpoint",
    streams: 2,
    program: [add({ target: 0, sources: [1], branch: scaledBranch(f, stepSize), name: "f", times: 2 }), permute(1, 0)],
  };
}
