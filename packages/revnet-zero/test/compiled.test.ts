import { describe, expect, test } from "vitest";
import {
  AdamW,
  CpuBackend,
  compileGradients,
  Engine,
  foldKey,
  type ReversibleMode,
  ReversibleTransformer,
  randomKey,
  type Tensor,
  tensor,
  toWords,
} from "../src/index.ts";

const STEPS = 6;

/** The weights after a few steps, as words, and what the run needed. */
function train(mode: ReversibleMode, isCompiled: boolean, dtype: "bf16" | undefined, keepsCastCopies = true) {
  const engine = new Engine(new CpuBackend(), { keepsCastCopies });
  const model = new ReversibleTransformer({
    numLayers: 3,
    dModel: 16,
    numHeads: 2,
    maxSeqLen: 8,
    dropout: 0.2,
    reversibility: mode,
    fractionBits: 12,
    key: randomKey(3),
    engine,
  });
  const optimizer = new AdamW(model.parameters(), { learningRate: 0.01 });
  const run = (tokens: Tensor, targets: Tensor): Tensor => {
    const loss = engine.autocast(dtype, () => model.loss(tokens, targets));
    loss.backward();
    return loss.detach();
  };
  const gradients = compileGradients(model.parameters(), run);
  const losses: number[] = [];
  const peaks: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    engine.ledger.resetPeak();
    engine.scope(() => {
      // Two micro-batches: the second adds to the gradients of the first.
      for (let micro = 0; micro < 2; micro++) {
        const words = Int32Array.from({ length: 17 }, (_, i) => (i * 37 + step * 11 + micro * 5) % 256);
        const tokens = tensor(words.slice(0, 16), { shape: [2, 8], engine });
        const targets = tensor(words.slice(1), { shape: [2, 8], engine });
        const key = foldKey(foldKey(randomKey(9), step), micro);
        losses.push(engine.withKey(key, () => (isCompiled ? gradients : run)(tokens, targets)).itemSync());
      }
      optimizer.step();
      optimizer.zeroGrad();
    });
    peaks.push(engine.memory().peakBytes);
  }
  const weights = model.parameters().map((p) => toWords(p.dataSync(), p.dtype));
  const { reason, recordings } = gradients;
  gradients.dispose();
  optimizer.dispose();
  model.dispose();
  expect(engine.memory().liveBytes).toBe(0);
  return { losses, weights, peaks, reason: isCompiled ? reason : undefined, recordings };
}

describe("a recorded training step has the bits of the step, dropout and added gradients included:", () => {
  test.for([
    ["exact", undefined],
    ["exact", "bf16"],
    ["exact16", undefined],
    ["store", "bf16"],
    ["checkpoint", undefined],
    ["float", undefined],
  ] as const)("mode %s, matrix products in %s", ([mode, dtype]) => {
    const expected = train(mode, false, dtype);
    const found = train(mode, true, dtype);
    expect(found.losses).toEqual(expected.losses);
    expect(found.weights).toEqual(expected.weights);
    expect(found.reason).toBeUndefined();
    // One recording without gradients to add to, and one with.
    expect(found.recordings.length).toBe(2);
    // Whether weights in bfloat16 are kept or made at every use.
    const cast = train(mode, false, dtype, false);
    expect([cast.losses, cast.weights]).toEqual([found.losses, found.weights]);
    // Values that are joined away need no memory, and nothing lives longer than it did.
    expect(Math.max(...found.peaks.slice(3))).toBeLessThanOrEqual(Math.max(...expected.peaks.slice(3)));
  });
});
