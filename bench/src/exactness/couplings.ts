import { Linear, Module } from "@revnet-zero/nn";
import {
  type AdditiveBranches,
  type Branch,
  gated,
  hamiltonian,
  leapfrog,
  midpoint,
  multiStream,
  type ReversibleBlock,
  reversibleHeun,
  runBranch,
} from "@revnet-zero/reversible";
import type { Engine, Key, Tensor } from "@revnet-zero/tensor";

/** A branch of the sum of two streams. */
class OfSum extends Module {
  readonly inner: Branch;
  constructor(inner: Branch) {
    super();
    this.inner = inner;
  }
  override forward(x: Tensor, y: Tensor): Tensor {
    return runBranch(this.inner, x.add(y));
  }
}

export interface Place {
  readonly index: number;
  readonly dModel: number;
  readonly key: Key;
  readonly engine: Engine;
}

/** A block of each coupling from the two branches of a transformer's layer; those of one branch take them in turn. */
export const couplings: Readonly<Record<string, (branches: AdditiveBranches, place: Place) => ReversibleBlock>> = {
  additive: (branches) => branches,
  midpoint: ({ F, G }, { index }) => midpoint({ f: index % 2 === 0 ? F : G, stepSize: 0.5 }),
  leapfrog: ({ F, G }, { index }) => leapfrog({ f: index % 2 === 0 ? F : G, stepSize: 0.25 }),
  hamiltonian: ({ F, G }) => hamiltonian({ force: F, velocity: G }),
  reversibleHeun: ({ F, G }, { index }) => reversibleHeun({ f: index % 2 === 0 ? F : G, stepSize: 0.5 }),
  multiStream: ({ F, G }) =>
    multiStream({
      streams: 3,
      steps: [
        { target: 0, sources: [1], branch: F },
        { target: 1, sources: [2, 0], branch: new OfSum(G) },
        { target: 2, sources: [0, 1], branch: new OfSum(F) },
      ],
    }),
  gated: ({ F, G }, { dModel, key, engine }) => {
    const mixture = { experts: [F, G], gate: new Linear({ in: dModel, out: 2, key, engine }) };
    return gated({ F: mixture, G: mixture });
  },
};
