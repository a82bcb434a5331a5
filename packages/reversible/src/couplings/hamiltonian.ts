import type { CoupledBlock } from "../block.ts";
import type { Branch } from "../branch.ts";
import { add } from "../steps/add.ts";
import { scaledBranch } from "./scaledBranch.ts";

export interface HamiltonianOptions {
  /** dp/dt as a function of the positions: minus the gradient of the potential energy, or any network. */
  readonly force: Branch;
  /** dq/dt as a function of the momenta. Default: the momenta themselves (unit mass). */
  readonly velocity?: Branch;
  /** h. Default 1. */
  readonly stepSize?: number;
  /** `euler` (first order, each branch once) or `verlet` (second order, the force twice). Default `euler`. */
  readonly scheme?: "euler" | "verlet";
}

/**
 * A step of a separable Hamiltonian system on the streams (p, q), symplectic whatever the branches:
 * - `euler`: p' = p + h force(q), q' = q + h velocity(p');
 * - `verlet`: p½ = p + h/2 force(q), q' = q + h velocity(p½), p' = p½ + h/2 force(q').
 * Source: Haber and Ruthotto 2017 (arXiv:1705.03341); Chang et al. 2018 (arXiv:1709.03698).
 */
export function hamiltonian(options: HamiltonianOptions): HamiltonianOptions & CoupledBlock {
  const { force, velocity = (p) => p, stepSize = 1, scheme = "euler" } = options;
  const kick = (h: number) => add({ target: 0, sources: [1], branch: scaledBranch(force, h), name: "force" });
  const drift = add({ target: 1, sources: [0], branch: scaledBranch(velocity, stepSize), name: "velocity" });
  return {
    ...options,
    coupling: "hamiltonian",
    streams: 2,
    program: scheme === "euler" ? [kick(stepSize), drift] : [kick(stepSize / 2), drift, kick(stepSize / 2)],
  };
}
