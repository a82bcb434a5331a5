// A coupling of your own: how streams are joined is data, a list of steps, and any list of steps can be undone exactly.
// Three streams in a ring; a map written by hand with its inverse; and the check that holds both to their contract.
import {
  checkReversible,
  defaultEngine,
  foldKey,
  hamiltonian,
  Linear,
  midpoint,
  multiStream,
  ReversibleSequence,
  randomKey,
  steps,
  type Tensor,
  userDefined,
} from "revnet-zero";
import { claim } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);
const linear = (i: number): Linear => new Linear({ in: 8, out: 8, key: foldKey(key, i) });

// -- steps: exact on whole numbers ---------------------------------------------------------------------------------------
// Each step changes one stream by a function of others, or combines streams by whole numbers, or lets them change places.
// Its inverse follows, and its gradient is taken by the engine: neither is written.
const ring = (i: number) => {
  const [mix, gate] = [linear(2 * i), linear(2 * i + 1)];
  return multiStream({
    name: "ring",
    streams: 3,
    steps: [
      { target: 0, sources: [1, 2], branch: (b: Tensor, c: Tensor) => mix.call(b).mul(gate.call(c).sigmoid()) },
      steps.combine({ target: 1, sign: -1, terms: [{ source: 2, times: 3 }] }),
      steps.permute(1, 2, 0),
    ],
  });
};
const rings = new ReversibleSequence({ blocks: Array.from({ length: 6 }, (_, i) => ring(i)) });
const ofRings = await checkReversible(rings, { shape: [4, 8] });
console.log(`three streams in a ring, six blocks deep:\n${ofRings}\n`);

// -- couplings made of ordinary differential equations ---------------------------------------------------------------------
// The midpoint rule and the leapfrog of Hamiltonian systems are reversible integrators: a network that is a flow in time.
const field = linear(100);
const waves = new ReversibleSequence({
  blocks: [
    midpoint({ f: (x: Tensor) => field.call(x).tanh(), stepSize: 0.5 }),
    hamiltonian({ force: (q: Tensor) => q.sin().neg(), stepSize: 0.25, scheme: "verlet" }), // a pendulum a number
  ],
});
const ofWaves = await checkReversible(waves, { shape: [4, 8] });
console.log(`midpoint and Hamiltonian blocks in one sequence: exact ${ofWaves.isExact}`);

// -- any bijection, in floats ------------------------------------------------------------------------------------------------
// Two functions that undo each other, and how the pair changes volumes. Exact it cannot be: floats round.
const shear = userDefined({
  forward: (a, b) => [b, a.mul(2).add(b.sin())],
  inverse: (b, c) => [c.sub(b.sin()).div(2), b],
  logDeterminant: (a) => a.zerosLike().add(Math.log(2)).sum(-1),
});
const shears = new ReversibleSequence({ blocks: [shear, shear, shear], mode: "float" });
const ofShears = await checkReversible(shears, { shape: [3, 4] });
console.log(`a map written by hand: gradients off by ${ofShears.gradientRelativeError.toExponential(1)}, relative;`);
console.log(
  `  log-determinant off by ${ofShears.logDeterminantError!.toExponential(1)} from that of a numeric Jacobian`,
);

// A pair that does not undo itself is found out.
const wrong = userDefined({ forward: (a, b) => [b, a.add(b)], inverse: (b, c) => [c.sub(b.mul(1.01)), b] });
const ofWrong = await checkReversible(new ReversibleSequence({ blocks: [wrong], mode: "float" }), { shape: [3, 4] });
console.log(
  `one whose inverse is wrong by a hundredth: reconstruction off by ${ofWrong.reconstructionRelativeError.toFixed(4)}`,
);

claim({
  "rings of three streams are exact, on ordinary and extreme inputs": ofRings.isExact && ofRings.cases.length >= 12,
  "blocks of different kinds join in one sequence, exactly": ofWaves.isExact,
  "gradients of the map by hand are those of stored backpropagation, nearly": ofShears.gradientRelativeError < 1e-5,
  "its log-determinant is right": ofShears.logDeterminantError! < 1e-4,
  "a wrong inverse is found": ofWrong.reconstructionRelativeError > 1e-3,
  "nothing is left behind": engine.memory().live.saved === 0,
});
