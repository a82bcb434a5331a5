import { foldKey, type Key } from "@revnet-zero/tensor";
import {
  additive,
  affine,
  type Branch,
  gated,
  hamiltonian,
  leapfrog,
  midpoint,
  momentum,
  multiStream,
  type ReversibleBlock,
  reversibleHeun,
  steps,
} from "../src/index.ts";

/** Makes a branch of `inputs` streams (default 1) that returns `width` channels (default: a stream's). */
export type MakeBranch = (key: Key, inputs?: number, width?: number) => Branch;

/** A block of streams `dim` channels wide. */
export type MakeBlock = (make: MakeBranch, key: Key, dim: number) => ReversibleBlock;

const two = (make: MakeBranch, key: Key): [Branch, Branch] => [make(foldKey(key, 1)), make(foldKey(key, 2))];

/** Couplings whose steps have whole coefficients: exact on fixed-point streams. */
export const exactCouplings: Readonly<Record<string, MakeBlock>> = {
  additive: (make, key) => {
    const [F, G] = two(make, key);
    return additive({ F, G });
  },
  midpoint: (make, key) => midpoint({ f: make(key), stepSize: 0.25 }),
  leapfrog: (make, key) => leapfrog({ f: make(key), stepSize: 0.125 }),
  hamiltonian: (make, key) => {
    const [force, velocity] = two(make, key);
    return hamiltonian({ force, velocity, stepSize: 0.5 });
  },
  verlet: (make, key) => hamiltonian({ force: make(key), stepSize: 0.5, scheme: "verlet" }),
  reversibleHeun: (make, key) => reversibleHeun({ f: make(key), stepSize: 0.25 }),
  gated: (make, key) => {
    const mixture = (k: Key) => ({
      experts: [make(foldKey(k, 0)), make(foldKey(k, 1))],
      gate: make(foldKey(k, 2), 1, 2),
      scale: 0.5,
    });
    return gated({ F: mixture(foldKey(key, 1)), G: mixture(foldKey(key, 2)) });
  },
  multiStream: (make, key) =>
    multiStream({
      streams: 3,
      steps: [
        { target: 0, sources: [1, 2], branch: make(foldKey(key, 1), 2) },
        { target: 1, sources: [2], branch: make(foldKey(key, 2)), times: -3 },
        steps.permute(2, 0, 1),
        steps.combine({
          target: 1,
          sign: -1,
          terms: [
            { source: 0, times: 3 },
            { source: 2, times: -1 },
          ],
        }),
        { target: 0, sources: [2, 1], branch: make(foldKey(key, 3), 2) },
      ],
    }),
};

/** Couplings that float streams undo up to rounding. */
export const floatCouplings: Readonly<Record<string, MakeBlock>> = {
  affine: (make, key, dim) =>
    affine({ F: make(foldKey(key, 1), 1, 2 * dim), G: make(foldKey(key, 2), 1, 2 * dim), bound: 0.5 }),
  momentum: (make, key) => momentum({ f: make(key), gamma: 0.9 }),
};
