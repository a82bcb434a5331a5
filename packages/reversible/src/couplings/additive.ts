import type { AdditiveBranches, CoupledBlock } from "../block.ts";
import { add } from "../steps/add.ts";

/**
 * y1 = x1 + F(x2), y2 = x2 + G(y1).
 * Source: Dinh et al. 2014 (arXiv:1410.8516), eq. 8; as a residual block, Gomez et al. 2017 (arXiv:1707.04585), eq. 6.
 */
export function additive({ F, G }: AdditiveBranches): AdditiveBranches & CoupledBlock {
  return {
    F,
    G,
    coupling: "additive",
    streams: 2,
    program: [
      add({ target: 0, sources: [1], branch: F, name: "F" }),
      add({ target: 1, sources: [0], branch: G, name: "G" }),
    ],
  };
}
