import { ByteDataset } from "@revnet-zero/data";
import { ReversibleTransformer } from "@revnet-zero/models";
import { AdamW, clipByGlobalNorm, schedules } from "@revnet-zero/optim";
import { Engine, foldKey, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { openBackend } from "../backends.ts";
import { answerRequests } from "../subject.ts";
import { attentions, budgetOf, type LongContextRequest } from "./configuration.ts";
import { batchKey, type NeedleBatch, needleBatch, vocabulary } from "./needles.ts";
import { stateOfTheUnion } from "./text.ts";

// Trains one exact reversible transformer with one kind of attention, then says how well it predicts text it has not seen, or answers.

export interface LongContextAnswer {
  /** Of held-out text. */
  readonly bitsPerByte?: number;
  /** Questions answered and asked, by how far back the needle lies: [from, to) tokens. */
  readonly recall?: readonly {
    readonly from: number;
    readonly to: number;
    readonly right: number;
    readonly asked: number;
  }[];
  readonly parameters: number;
  readonly timeMs: number;
}

/** Parts of the length that texts of the first half of the steps have. */
const SHORT = 4;

/** Distances are counted in these ranges. */
const edges = [1, 16, 32, 64, 128, 256, 512, 1024];

async function train(request: LongContextRequest): Promise<LongContextAnswer> {
  const { task, attention, seed, backend } = request;
  const { numLayers, dModel, numHeads, length, batchSize, steps, evaluationBatches, learningRate, leafSize } =
    budgetOf(request);
  const engine = new Engine(openBackend(backend).backend);
  /** A GPU multiplies in bfloat16, as its tensor cores do. */
  const computing = <T>(f: () => T): T => (backend === "cuda" ? engine.autocast("bf16", f) : f());
  const model = new ReversibleTransformer({
    ...{ numLayers, dModel, numHeads, maxSeqLen: length, vocabSize: task === "text" ? 256 : vocabulary },
    ...{ attention: attentions[attention](leafSize), tieEmbeddings: task === "text", key: randomKey(seed), engine },
  });
  const text = stateOfTheUnion();
  const data = new ByteDataset(text, { batchSize, sequenceLength: length, seed });
  const onEngine = (words: Int32Array, time = length): Tensor => tensor(words, { engine }).reshape([-1, time]);
  const lossOf = (tokens: Int32Array, targets: Int32Array, time = length): Tensor =>
    computing(() => model.loss(onEngine(tokens, time), onEngine(targets, time)));
  const lossAt = (step: number): Tensor => {
    if (task === "text") {
      const { inputs, targets } = data.batchAt(step);
      return lossOf(inputs, targets);
    }
    // Short texts first: what a question has to do with its needle is learned where needles are near, and then how far they may be.
    const parts = step < steps / 2 ? SHORT : 1;
    const { tokens, targets } = needleBatch(data.train, parts * batchSize, length / parts, batchKey(seed, step));
    return lossOf(tokens, targets, length / parts);
  };
  const parameters = model.parameters();
  const optimizer = new AdamW(parameters, { learningRate, weightDecay: 0 });
  const warmUp = Math.min(30, steps);
  const rate = schedules.sequence(
    { schedule: schedules.warmUp({ steps: warmUp, to: learningRate }), steps: warmUp },
    { schedule: schedules.cosine({ from: learningRate, to: learningRate / 10, steps }), steps },
  );
  const start = performance.now();
  for (let step = 0; step < steps; step++) {
    engine.scope(() => engine.withKey(foldKey(randomKey(seed), step), () => lossAt(step).backward()));
    const { factor } = clipByGlobalNorm(parameters, 1);
    optimizer.step({ learningRate: rate(step), gradientFactor: factor });
    optimizer.zeroGrad();
  }
  const result = { parameters: model.parameterCount(), timeMs: performance.now() - start };
  model.eval();
  if (task === "text") {
    let [nats, count] = [0, 0];
    for (const { inputs, targets } of data.heldOutBatches(evaluationBatches)) {
      nats += targets.length * engine.scope(() => engine.noGrad(() => lossOf(inputs, targets).itemSync()));
      count += targets.length;
    }
    return { bitsPerByte: nats / count / Math.LN2, ...result };
  }
  const recall = edges
    .slice(1)
    .filter((to) => to <= length)
    .map((to, i) => ({ from: edges[i]!, to, right: 0, asked: 0 }));
  for (let i = 0; i < evaluationBatches; i++) {
    const batch = needleBatch(data.heldOut, batchSize, length, batchKey(1000 + seed, i));
    const scope = engine.openScope("recall");
    const predicted = await computing(() => engine.noGrad(() => model.call(onEngine(batch.tokens)).argmax(-1))).data();
    scope.close();
    count(recall, batch, predicted as Int32Array);
  }
  return { recall, ...result };
}

type Ranges = { readonly from: number; readonly to: number; right: number; asked: number }[];

function count(ranges: Ranges, { targets, distances }: NeedleBatch, predicted: Int32Array): void {
  for (const [i, target] of targets.entries()) {
    if (target < 0) continue;
    const range = ranges.find(({ from, to }) => distances[i]! >= from && distances[i]! < to);
    if (range === undefined) continue;
    range.asked++;
    if (predicted[i] === target) range.right++;
  }
}

await answerRequests(train);
