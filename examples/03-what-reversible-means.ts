// What reversible means: twelve layers run forward, all activations but the last pair are dropped, and come back bit for bit.
// On ordinary floats they come back almost, and "almost" is what the fixed-point grid is for.
import {
  checkReversible,
  defaultEngine,
  foldKey,
  MLP,
  ones,
  type ReversibleMode,
  ReversibleSequence,
  randomKey,
  randomNormal,
  type Tensor,
} from "revnet-zero";
import { claim } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);
const [depth, rows, dim] = [12, 64, 32];

// A block joins two streams: y1 = x1 + F(x2), then y2 = x2 + G(y1). F and G may be any networks, of any shape inside.
// Whoever has y1 and y2 has x2 = y2 - G(y1) and then x1 = y1 - F(x2): nothing need be remembered.
const mlp = (i: number): MLP => new MLP({ dim, key: foldKey(key, i) });
const blocks = Array.from({ length: depth }, (_, i) => ({ F: mlp(2 * i), G: mlp(2 * i + 1) }));
const inputs = [
  randomNormal([rows, dim], { key: foldKey(key, 100) }),
  randomNormal([rows, dim], { key: foldKey(key, 101) }),
];

/** Words of two tensors that are not the same. */
const differing = (a: Tensor, b: Tensor): number => {
  const expected = b.dataSync();
  return Array.from(a.dataSync()).filter((v, i) => !Object.is(v, expected[i])).length;
};

function roundTrip(mode: ReversibleMode): number {
  const sequence = new ReversibleSequence({ blocks, mode });
  return engine.scope(() =>
    engine.noGrad(() => {
      // In mode "exact" a stream is whole numbers, int32 multiples of 2^-20: sums of whole numbers do not round.
      const streams = inputs.map((x) => sequence.enter(x)) as [Tensor, Tensor];
      const [y1, y2] = sequence.call(...streams) as [Tensor, Tensor];
      const back = sequence.inverse(y1, y2);
      return streams.reduce((count, x, i) => count + differing(back[i]!, x), 0);
    }),
  );
}
const [exact, float] = [roundTrip("exact"), roundTrip("float")];
console.log(`${depth} blocks forward and back, ${2 * rows * dim} stream values:`);
console.log(`  mode exact: ${exact} differ; mode float: ${float} differ`);

// -- and training? ------------------------------------------------------------------------------------------------------
// Backward walks the blocks from the last to the first: it runs a block's branches once more on what it has rebuilt, recorded,
// pulls the gradient through, and goes on to the block before. The check compares every gradient with ordinary backpropagation.
const cotangents = inputs.map((x) => x.onesLike());
const report = await checkReversible(new ReversibleSequence({ blocks }), inputs, cotangents);
console.log(
  `against stored backpropagation: gradients bit-equal ${report.gradientsBitEqual}, ${report.elementsCompared} numbers compared`,
);

/** Bytes that wait for backward after a forward pass, parameters not counted. */
function keptBytes(mode: ReversibleMode): number {
  const sequence = new ReversibleSequence({ blocks, mode });
  return engine.scope(() => {
    const before = engine.memory().live;
    const loss = engine.scope(() =>
      sequence
        .call(...(inputs as [Tensor, Tensor]))
        .reduce((a, b) => a.add(b))
        .sum(),
    );
    const { saved, streams, workspace } = engine.memory().live;
    loss.backward();
    sequence.zeroGrad();
    return saved + streams + workspace - before.saved - before.streams - before.workspace;
  });
}
const [rebuilt, stored] = [keptBytes("exact"), keptBytes("store")];
console.log(`kept until backward: ${rebuilt} bytes if activations are rebuilt, ${stored} if they are stored`);

// A planted error, to see that the check can fail: this branch computes something else when it is run a second time.
let calls = 0;
const moody = (x: Tensor): Tensor => x.mul(++calls % 2 === 0 ? 0.5 : 0.25);
const broken = new ReversibleSequence({ blocks: [{ F: moody, G: (x) => x.tanh() }] });
const caught = await checkReversible(broken, [ones([2, 3]), ones([2, 3])], [ones([2, 3]), ones([2, 3])]);
console.log(`with a branch that is not its own twin: ${caught.firstDifference}`);

claim({
  "exact streams come back bit for bit": exact === 0 && report.reconstructionBitEqual,
  "float streams do not": float > 0,
  "gradients are those of stored backpropagation, bit for bit": report.gradientsBitEqual,
  "what is kept is a tenth or less": rebuilt < stored / 10,
  "the check finds a branch that is not deterministic": !caught.reconstructionBitEqual,
});
