// Glow, a flow of images, on handwritten digits: bits per dimension of digits it has not seen, and strokes of its own.
// Two minutes of training; it draws runs/glow-digits.svg.
import { mkdirSync, writeFileSync } from "node:fs";
import { type ImageSet, loadMnist } from "@revnet-zero/data";
import {
  AdamW,
  bitsPerDimension,
  clipByGlobalNorm,
  DiagonalNormal,
  defaultEngine,
  dequantisePixels,
  FlowSequence,
  foldKey,
  glow,
  initialiseFromData,
  Logit,
  NormalizingFlow,
  quantisePixels,
  randomKey,
  randomWord,
  StandardNormal,
  schedules,
  type Tensor,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(7);
const shape = [1, 28, 28] as const;
const size = 784;
const { train, test } = await loadMnist();

/** Digits as bytes with uniform noise, in (0, 1): `[places, 1, 28, 28]`. The noise is drawn anew for every `draw`. */
function digits(set: ImageSet, places: readonly number[], draw: number): Tensor {
  const { pixels } = set.select(places);
  return engine.scope(() =>
    dequantisePixels(tensor(pixels, { shape: [places.length, ...shape] }), { key: foldKey(key, draw) }),
  );
}
const drawn = (draw: number): Tensor =>
  digits(
    train,
    Array.from({ length: 32 }, (_, i) => randomWord(foldKey(key, draw), i) % train.count),
    draw,
  );

const images = glow({ shape, scales: 2, couplings: 4, hidden: 32, key: foldKey(key, 1) });
const transform = new FlowSequence({ layers: [new Logit(), images], mode: "store" }); // each scale is rebuilt in one go
const flow = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [size] }) });

/** Mean bits per dimension of 500 digits that no model has seen. */
function bitsOf(model: NormalizingFlow): number {
  const parts = Array.from({ length: 10 }, (_, part) =>
    engine.scope(() => {
      const x = digits(
        test,
        Array.from({ length: 50 }, (_, i) => 39 * part + 3 * i),
        2,
      );
      return engine.noGrad(() => bitsPerDimension(model.logProbability(x), { shape }).mean().itemSync());
    }),
  );
  return parts.reduce((a, b) => a + b) / parts.length;
}

// What to beat: every pixel by itself, a normal distribution of its logit fitted to 2000 digits.
const pixelwise = engine.scope(() => {
  const logits = new Logit().call(
    digits(
      train,
      Array.from({ length: 2000 }, (_, i) => 4 * i),
      3,
    ),
  ).value;
  const base = new DiagonalNormal({ shape });
  base.mean.detach().assign(logits.mean(0));
  base.logDeviation.detach().assign(logits.variance(0).sqrt().log());
  return bitsOf(new NormalizingFlow({ transform: new Logit(), base }));
});

engine.scope(() => {
  const first = drawn(4);
  initialiseFromData(flow, () => flow.logProbability(first));
});
const steps = isAssert ? 60 : 1500;
const rate = schedules.cosine({ from: 1e-3, to: 1e-5, steps });
const optimizer = new AdamW(flow.parameters(), { weightDecay: 0 });
for (let i = 0; i < steps; i++) {
  engine.scope(() => flow.loss(drawn(10 + i)).backward());
  const { norm, factor } = clipByGlobalNorm(flow.parameters(), 1000);
  optimizer.step({ learningRate: rate(i), gradientFactor: factor });
  for (const t of [norm, factor]) t.dispose();
  flow.zeroGrad();
  if ((i + 1) % (steps / 5) === 0) console.log(`step ${i + 1}: ${bitsOf(flow).toFixed(3)} bits per dimension`);
}
const bits = bitsOf(flow);

/** Activation bytes of one training step, counted by the ledger. */
function activationBytes(mode: "rebuild" | "store"): number {
  for (const scale of images.scales) (scale.transform as FlowSequence).mode = mode;
  return engine.scope(() => {
    const x = drawn(5);
    engine.ledger.resetPeak();
    flow.loss(x).backward();
    flow.zeroGrad();
    return engine.memory().activationBytes;
  });
}
const [stored, rebuilt] = [activationBytes("store"), activationBytes("rebuild")];
const drifts = await Promise.all(images.scales.map(({ transform }) => (transform as FlowSequence).drift()));

console.log(
  `digits it has not seen: ${bits.toFixed(3)} bits per dimension; each pixel by itself: ${pixelwise.toFixed(3)}`,
);
console.log(
  `activations of a step: ${(rebuilt / 2 ** 20).toFixed(1)} MiB rebuilt, ${(stored / 2 ** 20).toFixed(1)} stored;`,
);
console.log(
  `the rebuilt inputs of the scales are off by ${drifts.map((d) => d.toExponential(1)).join(" and ")}, relative`,
);

// -- draw -------------------------------------------------------------------------------------------------------------
const [rows, columns] = [4, 10];
const pixels = engine.scope(() => quantisePixels(flow.sample(rows * columns, foldKey(key, 6))).dataSync());
const squares = Array.from(pixels, (value, i) => {
  const [digit, y, x] = [Math.floor(i / size), Math.floor(i / 28) % 28, i % 28];
  const at = `x="${(digit % columns) * 30 + x}" y="${Math.floor(digit / columns) * 30 + y}"`;
  return value < 16 ? "" : `<rect ${at} width="1" height="1" opacity="${(value / 255).toFixed(2)}"/>`;
});
mkdirSync("runs", { recursive: true });
const box = `viewBox="-2 -2 ${30 * columns + 2} ${30 * rows + 2}" width="${90 * columns}"`;
const page = `<svg xmlns="http://www.w3.org/2000/svg" ${box} shape-rendering="crispEdges">`;
writeFileSync(
  "runs/glow-digits.svg",
  `${page}<rect x="-2" y="-2" width="100%" height="100%" fill="white"/>${squares.join("")}</svg>\n`,
);
console.log("drawn: runs/glow-digits.svg");

claim({
  "it is better than each pixel by itself": bits < pixelwise,
  "rebuilt activations take less than half": rebuilt < stored / 2,
  "the rebuilt inputs are accurate": Math.max(...drifts) < 1e-4,
});
