// Writing with a cache: keys and values of earlier tokens are kept, so that a new token costs one step and not the whole text.
// The streams of a reversible model are whole numbers, and the cached run adds the same increments to them.
import {
  AdamW,
  type AttentionBranch,
  ByteDataset,
  decodeBytes,
  defaultEngine,
  encodeBytes,
  type FeedForwardBranch,
  generate,
  KeyValueCache,
  loadText,
  ReversibleTransformer,
  randomKey,
  type Tensor,
  tensor,
  toTensors,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const key = randomKey(1);
const length = isAssert ? 48 : 200;
const [dModel, numHeads, maxSeqLen] = [64, 4, 256];
const model = new ReversibleTransformer({ numLayers: 4, dModel, numHeads, maxSeqLen, key });

// A little training, so that there is something to write.
const data = new ByteDataset((await loadText("moby-dick")).bytes, { batchSize: 16, sequenceLength: 64, seed: 1 });
const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3 });
for (let step = 0; step < (isAssert ? 60 : 400); step++) {
  engine.scope(() => {
    const [tokens, targets] = toTensors(data.batchAt(step), engine);
    model.loss(tokens, targets).backward();
    optimizer.step();
    optimizer.zeroGrad();
  });
}
model.eval();

/** A model that remembers what it has read: tokens in, logits of the token after them out. */
class Reader {
  readonly caches: readonly KeyValueCache[];
  constructor() {
    const headDim = dModel / numHeads;
    const make = () => new KeyValueCache({ batch: 1, numKeyValueHeads: numHeads, length: maxSeqLen, headDim });
    this.caches = model.sequence.blocks.map(make);
  }

  /** Tokens that were not read yet -> logits `[vocab]` after the last of them. */
  read(tokens: readonly number[]): Tensor {
    return engine.scope(() =>
      engine.noGrad(() => {
        const x = model.embedding.tokens.call(tensor(Int32Array.from(tokens), { shape: [1, tokens.length] }));
        // Both streams begin as the embedding, on the grid, and take increments rounded to it: what a sequence does inside.
        const { sequence } = model;
        const onGrid = (f: Tensor): Tensor => sequence.enter(f);
        let [x1, x2] = [onGrid(x), onGrid(x)];
        sequence.blocks.forEach(({ F, G }, layer) => {
          const { norm, attention } = F as AttentionBranch;
          const mixed = attention.call(norm.call(sequence.read(x2)), { cache: this.caches[layer]! });
          x1 = x1.add(onGrid(mixed));
          x2 = x2.add(onGrid((G as FeedForwardBranch).call(sequence.read(x1))));
        });
        const joined = sequence.read(x1).add(sequence.read(x2)).mul(0.5);
        return model.head.call(joined.narrow(1, -1, 1)).reshape([256]);
      }),
    );
  }
}

const prompt = Array.from(encodeBytes("The whale "));
const likeliest = (logits: Tensor): number => logits.argmax(0).itemSync();

const start = performance.now();
const reader = new Reader();
let logits = reader.read(prompt); // the prompt all at once
const cached: number[] = [];
for (let i = 0; i < length; i++) {
  cached.push(likeliest(logits));
  logits = reader.read(cached.slice(-1)); // then one token at a time
}
const cachedMs = performance.now() - start;

const again = performance.now();
const whole = await generate(model, prompt, { length, temperature: 0, key });
const wholeMs = performance.now() - again;
console.log(`The whale ${decodeBytes(cached)}`);
console.log(
  `\n${length} bytes: ${cachedMs.toFixed(0)} ms with a cache, ${wholeMs.toFixed(0)} ms reading the text anew for every byte`,
);

// The logits of the whole text at once, against those that came one by one.
const all = [...prompt, ...cached];
const difference = engine.scope(() =>
  engine.noGrad(() => {
    const at = model
      .call(tensor(Int32Array.from(all), { shape: [1, all.length] }))
      .narrow(1, -1, 1)
      .reshape([256]);
    return at.sub(logits).abs().max().itemSync();
  }),
);
console.log(`logits after ${all.length} bytes differ by at most ${difference.toExponential(1)}: sums in another order`);

claim({
  "the cached model writes the same text": cached.join() === whole.join(),
  "its logits are those of the whole text, up to rounding": difference < 1e-3,
  "each layer remembers every byte": reader.caches.every((cache) => cache.length === all.length),
});
