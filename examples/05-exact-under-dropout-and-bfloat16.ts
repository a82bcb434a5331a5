// Exact under dropout, bfloat16 and accumulated gradients: the same model trained twice, activations rebuilt and stored.
// After the last step all weights have the same bits: what a second run of a branch depends on is captured with the first.
import {
  AdamW,
  defaultEngine,
  type Engine,
  foldKey,
  type ReversibleMode,
  ReversibleTransformer,
  randomKey,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine: Engine = defaultEngine();
const key = randomKey(7);
const [steps, microBatches, batch, time] = [isAssert ? 6 : 60, 2, 4, 32];
const words = (step: number, micro: number, ahead: number): Int32Array =>
  Int32Array.from({ length: batch * time }, (_, i) => ((i + ahead) * (3 + step) + 17 * micro) % 97);

interface Setting {
  readonly dropout: number;
  readonly precision: "float32" | "bfloat16";
}

/** The bits of all weights after training, and the last loss. */
async function train(mode: ReversibleMode, { dropout, precision }: Setting) {
  const model = new ReversibleTransformer({
    vocabSize: 97,
    numLayers: 6,
    dModel: 32,
    numHeads: 4,
    maxSeqLen: time,
    dropout,
    reversibility: mode,
    key,
  });
  const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3, weightDecay: 0.1 });
  let loss = 0;
  for (let step = 0; step < steps; step++) {
    for (let micro = 0; micro < microBatches; micro++) {
      engine.scope(() => {
        const [tokens, targets] = [0, 1].map((ahead) => tensor(words(step, micro, ahead), { shape: [batch, time] }));
        const compute = () => model.loss(tokens!, targets!).mul(1 / microBatches);
        // Masks follow from the key: a second run of a branch draws the same one, and a resumed run too.
        const part = engine.withKey(foldKey(foldKey(key, step), micro), () =>
          precision === "bfloat16" ? engine.autocast("bf16", compute) : compute(),
        );
        part.backward();
        loss = part.itemSync() * microBatches;
      });
    }
    optimizer.step();
    optimizer.zeroGrad();
  }
  const bits = new Map<string, Int32Array>();
  for (const [name, p] of model.namedParameters()) bits.set(name, new Int32Array((await p.data()).slice().buffer));
  optimizer.dispose();
  model.dispose();
  return { bits, loss };
}

/** Weights whose bits differ, of how many. */
function compare(a: ReadonlyMap<string, Int32Array>, b: ReadonlyMap<string, Int32Array>): readonly [number, number] {
  let [different, all] = [0, 0];
  for (const [name, words] of a) {
    all += words.length;
    different += words.reduce((count, word, i) => count + (word === b.get(name)![i] ? 0 : 1), 0);
  }
  return [different, all];
}

console.log(
  `${steps} steps of ${microBatches} accumulated batches, six layers; weights that differ from those of stored activations:\n`,
);
console.log("dropout  products in  exact            float");
const settings: readonly Setting[] = [
  { dropout: 0, precision: "float32" },
  { dropout: 0.2, precision: "float32" },
  { dropout: 0.2, precision: "bfloat16" },
];
const outcomes = [];
for (const setting of settings) {
  const [exact, store] = [await train("exact", setting), await train("store", setting)];
  const [float, storeFloat] = [await train("float", setting), await train("store-float", setting)];
  const [ofExact, ofFloat] = [compare(exact.bits, store.bits), compare(float.bits, storeFloat.bits)];
  const cell = ([different, all]: readonly [number, number]): string => `${different} of ${all}`.padEnd(17);
  console.log(`${String(setting.dropout).padEnd(9)}${setting.precision.padEnd(13)}${cell(ofExact)}${cell(ofFloat)}`);
  outcomes.push({ ofExact, ofFloat, isSameLoss: Object.is(exact.loss, store.loss) });
}

claim({
  "weights and losses are those of stored activations, bit for bit, in every setting": outcomes.every(
    ({ ofExact, isSameLoss }) => ofExact[0] === 0 && isSameLoss,
  ),
  "with float streams they are not": outcomes.every(({ ofFloat }) => ofFloat[0] > 0),
});
