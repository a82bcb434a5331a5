import { ValueError } from "@revnet-zero/tensor";
import type { CoupledBlock, Permutation } from "../block.ts";
import { type AddOptions, add } from "../steps/add.ts";
import type { StepMaker } from "../steps/step.ts";

export interface MultiStreamOptions {
  /** How many streams the block joins. */
  readonly streams: number;
  /**
   * What is done to them, in order: additions `{ target, sources, branch }`, permutations `permute(2, 0, 1)`, and steps
   * made by `combine`, `scale` or `custom`. Streams are numbered from 0, anew after a permutation.
   */
  readonly steps: readonly (AddOptions | Permutation | StepMaker)[];
  /** The coupling's name in reports and errors. Default "multiStream". */
  readonly name?: string;
}

/**
 * A coupling of any number of streams with any wiring: each step changes one stream by a function of others, so that
 * the block is invertible whatever the branches compute.
 * Source: the partition of Dinh et al. 2014 (arXiv:1410.8516), section 3.2, with more than two parts.
 */
export function multiStream(options: MultiStreamOptions): MultiStreamOptions & CoupledBlock {
  const { streams, steps, name = "multiStream" } = options;
  if (!Number.isInteger(streams) || streams < 1)
    throw new ValueError(name, `streams is ${streams}`, "use a positive whole number");
  const program = steps.map((s, i) => ("branch" in s ? add({ name: `step ${i}`, ...s }) : s));
  return { ...options, coupling: name, program };
}
