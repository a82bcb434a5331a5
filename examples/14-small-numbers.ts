// Small numbers: int16 streams that are as exact as int32 at half the bytes, and int8 products whose sums do not round.
// A trained classifier's weights become bytes; what that costs is counted on digits it has not seen.
import {
  AdamW,
  checkReversible,
  defaultEngine,
  foldKey,
  ImageBatches,
  Linear,
  loadMnist,
  MLP,
  Module,
  type ReversibleMode,
  ReversibleSequence,
  randomKey,
  randomNormal,
  schedules,
  type Tensor,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);

// -- int16 streams --------------------------------------------------------------------------------------------------------
// Sums modulo 2^16 are a group as those modulo 2^32 are. A power of two a channel, measured once, says what a unit is worth.
const [rows, dim] = [32, 64];
const mlp = (i: number): MLP => new MLP({ dim, key: foldKey(key, i) });
const blocks = Array.from({ length: 12 }, (_, i) => ({ F: mlp(2 * i), G: mlp(2 * i + 1) }));
const inputs = [0, 1].map((i) => randomNormal([rows, dim], { key: foldKey(key, 100 + i) }));
const ones = inputs.map((x) => x.onesLike());
async function look(mode: ReversibleMode) {
  const sequence = new ReversibleSequence({ blocks, mode, channels: dim });
  const report = await checkReversible(sequence, inputs, ones);
  const stream = engine.scope(() => sequence.enter(inputs[0]!).bytes);
  console.log(
    `${mode.padEnd(8)} ${stream} bytes a stream; bit-equal: ${report.reconstructionBitEqual && report.gradientsBitEqual}`,
  );
  return { report, stream };
}
const [wide, narrow] = [await look("exact"), await look("exact16")];

// -- int8 products -----------------------------------------------------------------------------------------------------------
class Classifier extends Module {
  readonly hidden = new Linear({ in: 784, out: 128, activation: "relu", key: foldKey(key, 1) });
  readonly last = new Linear({ in: 128, out: 10, key: foldKey(key, 2) });
  override forward(x: Tensor): Tensor {
    return this.last.call(this.hidden.call(x));
  }
}
const net = new Classifier();
const { train, test } = await loadMnist();
const steps = isAssert ? 150 : 1000;
const optimizer = new AdamW(net.parameters(), { weightDecay: 0.01 });
const rate = schedules.cosine({ from: 3e-3, to: 1e-4, steps });
const batches = new ImageBatches(train, { batchSize: 100, seed: 1 });
for (let step = 0; step < steps; step++) {
  engine.scope(() => {
    const { images, labels } = batches.batchAt(step);
    net
      .call(tensor(images, { shape: [100, 784] }))
      .crossEntropy(tensor(labels))
      .mean()
      .backward();
    optimizer.step({ learningRate: rate(step) });
    optimizer.zeroGrad();
  });
}

/** Rows as bytes, and what a unit of each is worth, `[rows, 1]`: the largest magnitude becomes 127. */
function toBytes(x: Tensor): { readonly bytes: Tensor; readonly unit: Tensor } {
  const unit = x.abs().max(-1, { keepDims: true }).maximum(1e-12).div(127);
  return { bytes: x.div(unit).round().cast("i8"), unit };
}
const weights = [net.hidden, net.last].map(({ weight }) => toBytes(weight.detach()));

/** A layer whose product is bytes by bytes, summed in int32: no rounding until the sum is worth something again. */
function inBytes(x: Tensor, layer: 0 | 1): Tensor {
  const [rows, { bytes, unit }] = [toBytes(x), weights[layer]!];
  const sums = rows.bytes.matmul(bytes.transpose()); // i8 · i8 -> i32
  return sums.cast("f32").mul(rows.unit).mul(unit.transpose()).add([net.hidden, net.last][layer]!.bias!.detach());
}
const inputsOf = new ImageBatches(test, { batchSize: test.count, seed: 1 });
const { images, labels } = [...inputsOf.inOrder()][0]!;
const [inFloats, inInts] = engine.scope(() =>
  engine.noGrad(() => {
    const x = tensor(images, { shape: [test.count, 784] });
    const answers = (logits: Tensor): ArrayLike<number> => logits.argmax(-1).dataSync();
    return [answers(net.call(x)), answers(inBytes(inBytes(x, 0).relu(), 1))] as const;
  }),
);
const share = (holds: (i: number) => boolean): number => labels.filter((_, i) => holds(i)).length / labels.length;
const right = [inFloats, inInts].map((found) => share((i) => found[i] === labels[i]));
const agreement = share((i) => inFloats[i] === inInts[i]);
const bytes = weights.reduce((sum, w) => sum + w.bytes.bytes + w.unit.bytes, 0);
console.log(`\ndigits: ${(100 * right[0]!).toFixed(2)} % right in float32, ${(100 * right[1]!).toFixed(2)} % in int8;`);
console.log(
  `the same answer to ${(100 * agreement).toFixed(2)} %, with weights of ${bytes} bytes instead of ${4 * 784 * 128 + 4 * 1280}`,
);

claim({
  "int16 streams are exact": narrow.report.reconstructionBitEqual && narrow.report.gradientsBitEqual,
  "and take half the bytes": narrow.stream === wide.stream / 2,
  "the classifier has learned": right[0]! > 0.85,
  "weights of a byte answer as those of four": agreement > 0.98 && Math.abs(right[0]! - right[1]!) < 0.01,
});
