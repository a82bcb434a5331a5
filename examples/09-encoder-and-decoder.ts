// An encoder and a decoder, both reversible, learn to write a row of digits backwards.
// The encoder's memory is read by every layer of the decoder; its gradients are added in the order of stored backpropagation.
import {
  AdamW,
  defaultEngine,
  foldKey,
  ReversibleEncoderDecoder,
  randomKey,
  randomWord,
  schedules,
  type Tensor,
  takeGradients,
  tensor,
  translate,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(3);
const [digits, batch] = [isAssert ? 5 : 8, 64];
const START = 10; // what every target begins with

const model = new ReversibleEncoderDecoder({
  sourceVocabSize: 11,
  numEncoderLayers: 2,
  numDecoderLayers: 2,
  dModel: 64,
  numHeads: 4,
  maxSeqLen: digits,
  key,
});

/** Rows of digits, the decoder's inputs (the target so far, beginning with START) and its targets. */
function examples(draw: number, rows: number) {
  const sources = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: digits }, (_, i) => randomWord(foldKey(key, draw), row * digits + i) % 10),
  );
  const targets = sources.map((row) => [...row].reverse());
  const inputs = targets.map((row) => [START, ...row.slice(0, -1)]);
  const rowsOf = (all: readonly (readonly number[])[]): Tensor => tensor(all, { dtype: "i32" });
  return { sources, targets, tensors: [rowsOf(sources), rowsOf(inputs), rowsOf(targets)] as const };
}

const steps = isAssert ? 300 : 1200;
const rate = schedules.cosine({ from: 3e-3, to: 1e-4, steps });
const optimizer = new AdamW(model.parameters());
for (let step = 0; step < steps; step++) {
  engine.scope(() => {
    const loss = model.loss(...examples(100 + step, batch).tensors);
    loss.backward();
    optimizer.step({ learningRate: rate(step) });
    optimizer.zeroGrad();
    if ((step + 1) % (steps / 5) === 0) console.log(`step ${step + 1}: ${loss.itemSync().toFixed(4)} nats a digit`);
  });
}

const { sources, targets } = examples(50, 40);
let right = 0;
for (const [i, source] of sources.entries()) {
  const written = await translate(model, source, { start: START, length: digits });
  if (i < 3) console.log(`${source.join(" ")} -> ${written.join(" ")}`);
  if (written.join() === targets[i]!.join()) right++;
}
console.log(`${right} of ${sources.length} new rows written backwards without a mistake`);

// -- exact on both sides ----------------------------------------------------------------------------------------------------
const batchTensors = examples(60, batch).tensors;
async function gradients(mode: "exact" | "store"): Promise<string> {
  model.reversibility = mode;
  engine.scope(() => model.loss(...batchTensors).backward());
  const found = [...(await takeGradients(model)).entries()];
  return found
    .map(([name, g]) => `${name} ${Buffer.from((g as Float32Array).slice().buffer).toString("base64")}`)
    .join();
}
const isExact = (await gradients("exact")) === (await gradients("store"));

claim({
  "it has learned to write backwards": right >= 0.9 * sources.length,
  "gradients of both sides are those of stored backpropagation, bit for bit": isExact,
});
