import { type Tensor, ValueError } from "@revnet-zero/tensor";
import type { CoupledBlock } from "../block.ts";
import type { Branch } from "../branch.ts";
import { add } from "../steps/add.ts";
import { combine } from "../steps/combine.ts";
import { scale } from "../steps/scale.ts";
import { scaledBranch } from "./scaledBranch.ts";

export interface MomentumOptions {
  readonly f: Branch;
  /** γ, between 0 and 1, neither of them. Default 0.9. */
  readonly gamma?: number;
}

/**
 * A momentum residual block on the streams (x, v): v' = γ v + (1 - γ) f(x), x' = x + v'.
 * Source: Sander et al. 2021 (arXiv:2102.07870).
 */
export function momentum(options: MomentumOptions): MomentumOptions & CoupledBlock {
  const { f, gamma = 0.9 } = options;
  if (!(gamma > 0 && gamma < 1)) throw new ValueError("momentum", `gamma is ${gamma}`, "use a number between 0 and 1");
  const decay = scale({
    target: 1,
    sources: [0],
    branches: [],
    name: "decay",
    parts: (x) => {
      const constant = (value: number): Tensor => (x as Tensor).fullOf([], value, "f32");
      return { factor: constant(gamma), logFactor: constant(Math.log(gamma)) };
    },
  });
  return {
    ...options,
    coupling: "momentum",
    streams: 2,
    program: [
      decay,
      add({ target: 1, sources: [0], branch: scaledBranch(f, 1 - gamma), name: "f" }),
      combine({ target: 0, terms: [{ source: 1, times: 1 }] }),
    ],
  };
}
