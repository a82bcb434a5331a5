// A reversible vision transformer learns handwritten digits, twice from the same seed: activations rebuilt in backward, and stored.
// Accuracy, time, memory; and every weight of the two has the same bits.
import {
  AdamW,
  clipByGlobalNorm,
  defaultEngine,
  foldKey,
  type ImageBatch,
  ImageBatches,
  type ImageSplit,
  loadMnist,
  type ReversibleMode,
  ReversibleVisionTransformer,
  randomKey,
  schedules,
  type Tensor,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const steps = isAssert ? 240 : 1500;
const leastAccuracy = isAssert ? 0.9 : 0.97;
const seed = 1;
const key = randomKey(seed);
const engine = defaultEngine();

const toTensors = ({ images, shape, labels }: ImageBatch): [Tensor, Tensor] => [
  tensor(images, { shape }),
  tensor(labels),
];

const learningRate = schedules.sequence(
  { schedule: schedules.warmUp({ steps: 50, to: 2.5e-3 }), steps: 50 },
  { schedule: schedules.cosine({ from: 2.5e-3, to: 0, steps: steps - 50 }) },
);

interface Outcome {
  readonly model: ReversibleVisionTransformer;
  readonly accuracy: number;
  readonly seconds: number;
  /** Peak of a training step less parameters, gradients and the optimizer's state. */
  readonly activationBytes: number;
}

async function train({ train, test }: ImageSplit, reversibility: ReversibleMode): Promise<Outcome> {
  const model = new ReversibleVisionTransformer({
    imageSize: 28,
    channels: 1,
    numClasses: 10,
    patchSize: 7,
    numLayers: 4,
    dModel: 96,
    numHeads: 4,
    mlpRatio: 2,
    dropout: 0.02,
    reversibility,
    key,
  });
  const parameters = model.parameters();
  const optimizer = new AdamW(
    [
      { parameters: parameters.filter((p) => p.rank > 1) },
      { parameters: parameters.filter((p) => p.rank === 1), weightDecay: 0 },
    ],
    { learningRate: 2.5e-3, weightDecay: 0.05 },
  );
  const brightness = { mean: 0.131, std: 0.309 };
  const augmentation = { shift: 2, rotation: 12, scale: 0.12 };
  const batches = new ImageBatches(train, { batchSize: 100, seed, augmentation, ...brightness });

  console.log(`${reversibility}: ${model.parameterCount()} parameters, ${steps} steps of 100 images`);
  engine.ledger.resetPeak();
  const start = performance.now();
  for (let step = 0; step < steps; step++) {
    const scope = engine.openScope("step");
    const loss = engine.withKey(foldKey(key, step), () => {
      const loss = model.loss(...toTensors(batches.batchAt(step)), { labelSmoothing: 0.1 });
      loss.backward();
      return loss;
    });
    const { factor } = clipByGlobalNorm(parameters, 1);
    optimizer.step({ learningRate: learningRate(step), gradientFactor: factor });
    optimizer.zeroGrad();
    if ((step + 1) % (isAssert ? 60 : 300) === 0)
      console.log(`  step ${step + 1}: loss ${(await loss.item()).toFixed(3)}`);
    scope.close();
  }
  const seconds = (performance.now() - start) / 1000;
  const { activationBytes } = engine.memory();

  let right = 0;
  for (const batch of new ImageBatches(test, { batchSize: 250, seed, ...brightness }).inOrder()) {
    const scope = engine.openScope("test");
    const found = await model.predict(toTensors(batch)[0]).data();
    right += batch.labels.filter((label, i) => found[i] === label).length;
    scope.close();
  }
  optimizer.dispose();
  const outcome = { model, accuracy: right / test.count, seconds, activationBytes };
  console.log(
    `  ${(100 * outcome.accuracy).toFixed(2)} % of ${test.count} other digits right, after ${seconds.toFixed(1)} s; ` +
      `activations ${(activationBytes / 2 ** 20).toFixed(1)} MiB`,
  );
  return outcome;
}

/** Names of the parameters whose bits differ. */
async function differences(a: ReversibleVisionTransformer, b: ReversibleVisionTransformer): Promise<string[]> {
  const others = b.namedParameters();
  const bits = async (t: Tensor): Promise<Buffer> => Buffer.from(Float32Array.from(await t.data()).buffer);
  const found: string[] = [];
  for (const [name, p] of a.namedParameters())
    if (!(await bits(p)).equals(await bits(others.get(name)!))) found.push(name);
  return found;
}

const digits = await loadMnist();
const exact = await train(digits, "exact");
const stored = await train(digits, "store");
const unequal = await differences(exact.model, stored.model);
if (unequal.length > 0) console.log(`these weights differ: ${unequal.join(", ")}`);

claim({
  [`all ${exact.model.parameterCount()} weights of the two models have the same bits`]: unequal.length === 0,
  "so both get the same digits right": exact.accuracy === stored.accuracy,
  [`at least ${100 * leastAccuracy} % of them`]: exact.accuracy >= leastAccuracy,
  "rebuilt activations take less memory": exact.activationBytes < stored.activationBytes,
});
