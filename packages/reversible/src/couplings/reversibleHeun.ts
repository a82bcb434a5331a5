import type { CoupledBlock } from "../block.ts";
import { add } from "../steps/add.ts";
import { combine } from "../steps/combine.ts";
import type { OneBranchOptions } from "./midpoint.ts";
import { scaledBranch } from "./scaledBranch.ts";

/**
 * A step of the reversible Heun method for x' = f(x) on the streams (y, z), which start equal:
 * z' = 2y - z + h f(z), y' = y + h/2 (f(z) + f(z')). With g = h/2 f(z) rounded once it is y += g(z); z := 2y - z;
 * y += g(z): rounding h f and h/2 f apart would break the inverse.
 * Source: Kidger et al. 2021 (arXiv:2105.13493), algorithm 1.
 */
export function reversibleHeun({ f, stepSize = 1 }: OneBranchOptions): OneBranchOptions & CoupledBlock {
  const half = scaledBranch(f, stepSize / 2);
  return {
    f,
    stepSize,
    coupling: "reversibleHeun",
    streams: 2,
    program: [
      add({ target: 0, sources: [1], branch: half, name: "f" }),
      combine({ target: 1, sign: -1, terms: [{ source: 0, times: 2 }] }),
      add({ target: 0, sources: [1], branch: half, name: "f" }),
    ],
  };
}
