// An ordinary vision transformer, trained on handwritten digits, becomes a reversible one, by every coupling there is.
// What that changes is measured on digits neither has seen; and a copy is trained until it gives the original's answers.
import {
  AdamW,
  alignToOriginal,
  type ConversionCouplingName,
  type ConvertedVisionTransformer,
  clipByGlobalNorm,
  conversionCouplings,
  convertToReversible,
  defaultEngine,
  type ImageBatch,
  ImageBatches,
  type ImageClassifier,
  loadMnist,
  measureConversion,
  randomKey,
  schedules,
  type Tensor,
  tensor,
  VisionTransformer,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const [steps, alignSteps] = isAssert ? [150, 60] : [1000, 400];
const key = randomKey(1);
const engine = defaultEngine();
const { train, test } = await loadMnist();
const brightness = { mean: 0.131, std: 0.309 };
const augmentation = { shift: 2, rotation: 12, scale: 0.12 };
const batches = new ImageBatches(train, { batchSize: 100, seed: 1, augmentation, ...brightness });
const imagesOf = ({ images, shape }: ImageBatch): Tensor => tensor(images, { shape });

const original = new VisionTransformer({
  imageSize: 28,
  channels: 1,
  numClasses: 10,
  patchSize: 7,
  numLayers: 4,
  dModel: 64,
  numHeads: 4,
  mlpRatio: 2,
  key,
});
const parameters = original.parameters();
const optimizer = new AdamW(parameters, { learningRate: 3e-3, weightDecay: 0.01 });
const rate = schedules.cosine({ from: 3e-3, to: 0, steps });
for (let step = 0; step < steps; step++) {
  engine.scope(() => {
    const batch = batches.batchAt(step);
    original.loss(imagesOf(batch), tensor(batch.labels)).backward();
    const { factor } = clipByGlobalNorm(parameters, 1);
    optimizer.step({ learningRate: rate(step), gradientFactor: factor });
    optimizer.zeroGrad();
  });
}
optimizer.dispose();

async function accuracyOf(model: ImageClassifier): Promise<number> {
  let right = 0;
  for (const batch of new ImageBatches(test, { batchSize: 250, seed: 1, ...brightness }).inOrder()) {
    const scope = engine.openScope("test");
    const found = await model.predict(imagesOf(batch)).data();
    right += batch.labels.filter((label, i) => found[i] === label).length;
    scope.close();
  }
  return right / test.count;
}
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

const unseen = imagesOf([...new ImageBatches(test, { batchSize: test.count, seed: 1, ...brightness }).inOrder()][0]!);
const accuracy = await accuracyOf(original);
console.log(`the original, after ${steps} steps: ${percent(accuracy)} of ${test.count} digits right\n`);
console.log("coupling   logits changed by   same answers   right");

let [isOriginal, isNearer] = [false, false];
const report = async (converted: ConvertedVisionTransformer) => ({
  ...(await measureConversion(original, converted, unseen)),
  accuracy: await accuracyOf(converted),
});
function show(name: string, { relativeChange, agreement, accuracy }: Awaited<ReturnType<typeof report>>): void {
  const change = relativeChange.toExponential(1);
  console.log(`${name.padEnd(11)}${change.padEnd(20)}${percent(agreement).padEnd(15)}${percent(accuracy)}`);
}
for (const coupling of Object.keys(conversionCouplings) as ConversionCouplingName[]) {
  const converted = convertToReversible(original, { coupling });
  const before = await report(converted);
  show(coupling, before);
  // In evaluation bdia is the original, on a grid of a millionth.
  if (coupling === "bdia") isOriginal = before.relativeChange < 1e-4 && before.agreement > 0.998;
  if (coupling === "additive") {
    const inputsAt = (step: number): Tensor => imagesOf(batches.batchAt(10_000 + step));
    await alignToOriginal(converted, original, { inputsAt, steps: alignSteps, learningRate: 1e-3 });
    const after = await report(converted);
    show("  aligned", after);
    isNearer = after.relativeChange < before.relativeChange && after.agreement > before.agreement;
  }
  converted.dispose();
}

claim({
  "the original has learned": accuracy > (isAssert ? 0.7 : 0.95),
  "the bdia copy answers as the original does": isOriginal,
  "alignment brings the additive copy nearer": isNearer,
});
