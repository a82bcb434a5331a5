import { HierarchicalReversibleAttention } from "@revnet-zero/attention";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { ReversibleTransformer } from "@revnet-zero/models";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { type Backend, Engine, foldKey, randomKey, tensor } from "@revnet-zero/tensor";
import { expectBitEqual } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { needleBatch, needles, vocabulary } from "../src/longContext/needles.ts";

/** A language model for long sequences: hierarchical attention with recall, MLPs in chunks, dropout. */
function model(
  engine: Engine,
  numLayers: number,
  maxSeqLen: number,
  { reversibility = "exact", vocabSize = 256 }: { reversibility?: ReversibleMode; vocabSize?: number } = {},
) {
  return new ReversibleTransformer({
    ...{ numLayers, dModel: 16, numHeads: 2, numKeyValueHeads: 1, maxSeqLen, dropout: 0.1 },
    ...{ reversibility, vocabSize },
    ...{ feedForwardTokens: 50, key: randomKey(1), engine },
    attention: (options) =>
      new HierarchicalReversibleAttention({
        ...{ ...options, dModel: options.dim, leafSize: 8, compressionRatios: [2, 4], extendLevels: true },
        recall: { topK: 2, level: 1 },
      }),
  });
}

/** Peak bytes of activations of a step, and the gradients. */
function step(backend: Backend, numLayers: number, time: number, reversibility?: ReversibleMode) {
  const engine = new Engine(backend);
  const made = model(engine, numLayers, time, { ...(reversibility && { reversibility }) });
  const words = Int32Array.from({ length: time }, (_, i) => (i * 37) % 251);
  engine.ledger.resetPeak();
  engine.scope(() => {
    const tokens = tensor(words, { shape: [1, time], engine });
    engine.withKey(foldKey(randomKey(2), 0), () => made.loss(tokens, tokens).backward());
  });
  return { activationBytes: engine.memory().activationBytes, gradients: made.parameters().map((p) => p.grad!) };
}

test("a long-context model has the gradients of its stored twin, bit for bit, recall, chunks and dropout included", async () => {
  const [exact, stored] = (["exact", "store"] as const).map((mode) => step(new CpuBackend() as Backend, 2, 170, mode));
  for (const [i, g] of exact!.gradients.entries())
    expectBitEqual(await g.data(), await stored!.gradients[i]!.data(), `gradient ${i}`);
});

test("its activations do not grow with depth, and grow in proportion to the tokens", () => {
  const bytes = (layers: number, time: number): number =>
    step(MetaBackend.like(new CpuBackend()) as Backend, layers, time).activationBytes;
  const short = bytes(2, 1024);
  // Keys of dropout, and what was recalled, are kept for each layer: two runs for every 16 tokens.
  const recalled = (layers: number): number => layers * (1024 / 16) * 2 * 4 * 4;
  expect(bytes(12, 1024) - recalled(12)).toBeLessThan(1.02 * (short - recalled(2)));
  expect(bytes(2, 8 * 1024)).toBeLessThan(8.6 * short);
});

test("no tensor of a step is as large as all tokens' hidden layer or logits", () => {
  const engine = new Engine(MetaBackend.like(new CpuBackend()) as Backend);
  const [time, width, vocabSize] = [8192, 16, 4096];
  const made = model(engine, 2, time, { vocabSize });
  const wide: string[] = [];
  const stop = engine.trace.listen(({ op, outputs }) => {
    for (const { shape } of outputs) {
      const [last, size] = [shape[shape.length - 1]!, shape.reduce((n, s) => n * s, 1)];
      if ((last === 4 * width || last === vocabSize) && size >= time * last) wide.push(`${op} [${shape.join(", ")}]`);
    }
  });
  engine.scope(() => {
    const tokens = tensor(new Int32Array(time), { shape: [1, time], engine });
    engine.withKey(foldKey(randomKey(2), 0), () => made.loss(tokens, tokens).backward());
  });
  stop();
  expect(wide).toEqual([]);
});

test("needles: every question's answer is what its needle says, as far back as is said", () => {
  const text = new Uint8Array(1000).map((_, i) => i % 200);
  const [batchSize, length] = [3, 120];
  const { tokens, targets, distances } = needleBatch(text, batchSize, length, randomKey(4));
  const firstQuestion = 256 + needles.keys * needles.values;
  let asked = 0;
  for (const [i, target] of targets.entries()) {
    if (target < 0) continue;
    asked++;
    const key = tokens[i]! - firstQuestion;
    const needle = tokens[i - distances[i]!]! - 256;
    expect(Math.floor(needle / needles.values)).toBe(key);
    expect(needle % needles.values).toBe(target - firstQuestion - needles.keys);
    expect(tokens[i + 1]).toBe(target);
  }
  expect(asked).toBe(batchSize * needles.keys);
  expect(tokens.every((t) => t < vocabulary)).toBe(true);
});
