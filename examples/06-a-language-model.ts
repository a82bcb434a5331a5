// A reversible language model learns Moby-Dick byte by byte, and writes some of its own.
// A minute of training passes the entropy of byte pairs; `npx revnet-zero train` is this with checkpoints and a report.
import {
  AdamW,
  ByteDataset,
  bigramCrossEntropy,
  clipByGlobalNorm,
  decodeBytes,
  defaultEngine,
  encodeBytes,
  evaluate,
  foldKey,
  formatBytes,
  generate,
  loadText,
  ReversibleTransformer,
  randomKey,
  schedules,
  toTensors,
  unigramCrossEntropy,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);
const { name, bytes } = await loadText("moby-dick");
const data = new ByteDataset(bytes, { batchSize: 16, sequenceLength: 64, seed: 1 });

const model = new ReversibleTransformer({
  numLayers: isAssert ? 4 : 6,
  dModel: isAssert ? 64 : 128,
  numHeads: 4,
  maxSeqLen: 64,
  key,
});
const steps = isAssert ? 120 : 800;
console.log(
  `${name}, ${bytes.length} bytes; ${model.parameterCount()} parameters, ${steps} steps of 16 sequences of 64 bytes`,
);

// Matrices are decayed, vectors (norms, biases) are not.
const parameters = model.parameters();
const optimizer = new AdamW([
  { parameters: parameters.filter((p) => p.rank > 1), weightDecay: 0.1 },
  { parameters: parameters.filter((p) => p.rank === 1), weightDecay: 0 },
]);
const warm = steps / 20;
const rate = schedules.sequence(
  { schedule: schedules.warmUp({ steps: warm, to: 3e-3 }), steps: warm },
  { schedule: schedules.cosine({ from: 3e-3, to: 1e-4, steps: steps - warm }) },
);

/** Bits per byte of text that training never sees: the end of the book. */
const heldOutBits = async (): Promise<number> => (await evaluate(model, data, 8)) / Math.LN2;

const before = await heldOutBits();
engine.ledger.resetPeak();
const start = performance.now();
for (let step = 0; step < steps; step++) {
  engine.scope(() => {
    const [tokens, targets] = toTensors(data.batchAt(step), engine);
    model.loss(tokens, targets).backward();
    const { factor } = clipByGlobalNorm(parameters, 1);
    optimizer.step({ learningRate: rate(step), gradientFactor: factor });
    optimizer.zeroGrad();
  });
  if ((step + 1) % (steps / 5) === 0)
    console.log(`step ${step + 1}: ${(await heldOutBits()).toFixed(3)} bits per byte`);
}
const seconds = (performance.now() - start) / 1000;
const after = await heldOutBits();
const yardstick = {
  unigram: unigramCrossEntropy(data.train, data.heldOut),
  bigram: bigramCrossEntropy(data.train, data.heldOut),
};
console.log(
  `before ${before.toFixed(3)}, after ${after.toFixed(3)}; counting bytes ${yardstick.unigram.toFixed(3)}, pairs ${yardstick.bigram.toFixed(3)}`,
);
console.log(
  `${Math.round((steps * 1024) / seconds)} bytes a second; memory at most ${formatBytes(engine.memory().peakBytes)}`,
);

const written = await generate(model, encodeBytes("The whale "), {
  length: 240,
  temperature: 0.7,
  key: foldKey(key, 9),
});
console.log(`\nThe whale ${decodeBytes(written)}`);

claim({
  "an untrained model knows nothing: about 8 bits a byte": Math.abs(before - 8) < 0.3,
  "it predicts text it has not seen better than counts of bytes": after < yardstick.unigram,
  "and better than counts of byte pairs, if it is given the time": isAssert || after < yardstick.bigram,
  "the same key writes the same text":
    decodeBytes(
      await generate(model, encodeBytes("The whale "), { length: 240, temperature: 0.7, key: foldKey(key, 9) }),
    ) === decodeBytes(written),
});
