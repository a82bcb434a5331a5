// A small network learns to tell two spirals apart: modules, a loss, an optimizer, a schedule.
// The loop below is the one that every later example has.
import {
  AdamW,
  defaultEngine,
  foldKey,
  Linear,
  Module,
  randomKey,
  randomNormal,
  randomUniform,
  schedules,
  type Tensor,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);

/** n points on two interlocked spirals, `[n, 2]`, and which one each lies on, `[n]`. */
function spirals(n: number, draw: number): { readonly points: Tensor; readonly labels: Tensor } {
  return engine.scope(() => {
    const labels = tensor(Int32Array.from({ length: n }, (_, i) => i % 2));
    const along = randomUniform([n], { key: foldKey(key, draw), low: 0.15, high: 1 });
    const angle = along.mul(3 * Math.PI).add(labels.cast("f32").mul(Math.PI));
    const points = angle
      .cos()
      .mul(along)
      .unsqueeze(1)
      .concat([angle.sin().mul(along).unsqueeze(1)], 1);
    return { points: points.add(randomNormal([n, 2], { key: foldKey(key, draw + 1), std: 0.02 })), labels };
  });
}

/** `[n, 2]` to the logits of two classes, `[n, 2]`. A module's fields are its parameters; `forward` says what is computed. */
class Net extends Module {
  readonly first = new Linear({ in: 2, out: 64, activation: "gelu", key: foldKey(key, 10) });
  readonly second = new Linear({ in: 64, out: 64, activation: "gelu", key: foldKey(key, 11) });
  readonly third = new Linear({ in: 64, out: 2, key: foldKey(key, 12) });

  override forward(x: Tensor): Tensor {
    return this.third.call(this.second.call(this.first.call(x)));
  }
}

const net = new Net();
console.log(`${net.parameterCount()} parameters: ${[...net.namedParameters().keys()].join(", ")}`);

const steps = isAssert ? 300 : 1500;
const rate = schedules.cosine({ from: 1e-2, to: 1e-4, steps });
const optimizer = new AdamW(net.parameters(), { weightDecay: 1e-4 });
let [firstLoss, lastLoss] = [0, 0];
for (let step = 0; step < steps; step++) {
  // A scope a step: whatever the step made is freed at its end.
  engine.scope(() => {
    const { points, labels } = spirals(256, 100 + 2 * step);
    const loss = net.call(points).crossEntropy(labels).mean();
    loss.backward(); // fills every parameter's `grad`
    optimizer.step({ learningRate: rate(step) });
    optimizer.zeroGrad();
    lastLoss = loss.itemSync();
    if (step === 0) firstLoss = lastLoss;
    if ((step + 1) % (steps / 5) === 0) console.log(`step ${step + 1}: ${lastLoss.toFixed(4)} nats`);
  });
}

const accuracy = engine.scope(() => {
  const { points, labels } = spirals(2000, 50);
  const found = engine.noGrad(() => net.call(points).argmax(-1));
  return found.equal(labels).cast("f32").mean().itemSync();
});
console.log(`${(100 * accuracy).toFixed(2)} % of 2000 new points on the right spiral`);

claim({
  "an untrained network knows nothing: about log 2 nats": Math.abs(firstLoss - Math.LN2) < 0.1,
  "it learned": lastLoss < firstLoss / 4,
  "it tells new points apart": accuracy > 0.97,
  "steps leave nothing behind": engine.memory().live.workspace < 100_000,
});
