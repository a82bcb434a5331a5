import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine } from "@revnet-zero/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { brokenRules } from "../src/configRules.ts";
import { estimateModes, estimateStep } from "../src/estimate.ts";
import { type Changes, smallConfig, smallTrainer } from "./smallRun.ts";

const backend = new CpuBackend();

const optimizers = [
  { name: "adamw" },
  { name: "lion" },
  { name: "adafactor" },
  { name: "sgd" },
  { name: "sgd", momentum: 0.9 },
  { name: "sgd", momentum: 0.9, nesterov: true },
] as const;

/** Small configurations of every kind. */
const changes: fc.Arbitrary<Changes> = fc
  .record({
    model: fc.record({
      numLayers: fc.integer({ min: 1, max: 4 }),
      dModel: fc.constantFrom(8, 16),
      numHeads: fc.constantFrom(1, 2),
      numKeyValueHeads: fc.constant(1),
      mlpRatio: fc.constantFrom(1, 2.5, 4),
      mlp: fc.constantFrom("gelu", "geglu", "swiglu"),
      norm: fc.constantFrom("layer", "rms"),
      positions: fc.constantFrom("rotary", "learned"),
      dropout: fc.constantFrom(0, 0.1),
      reversibility: fc.constantFrom("exact", "float", "store", "checkpoint", "exact16", "grid-f32"),
      streams: fc.constantFrom("full", "split"),
      tieEmbeddings: fc.boolean(),
    } as const),
    train: fc.record({
      steps: fc.constantFrom(2, 4),
      batchSize: fc.integer({ min: 1, max: 3 }),
      microBatches: fc.integer({ min: 1, max: 3 }),
      sequenceLength: fc.integer({ min: 1, max: 16 }),
      graph: fc.boolean(),
    }),
    optimizer: fc.record({ clipNorm: fc.constantFrom(0, 1) }),
    rule: fc.constantFrom(...optimizers),
  })
  .map(({ rule, ...rest }) => ({ ...rest, optimizer: { ...rest.optimizer, ...rule } }))
  .filter((given) => brokenRules(smallConfig(given)).length === 0);

describe("the estimate of a step", () => {
  test("is the peak that the run then has, to the byte, whatever the configuration", async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (given) => {
        const estimate = estimateStep(smallConfig(given), backend);
        const trainer = smallTrainer(given);
        await trainer.run();
        expect(trainer.peakBytes).toBe(estimate.peakBytes);
        const { live, atPeak, peakBytes, activationBytes } = trainer.engine.memory();
        expect(live.parameters).toBe(estimate.parameterBytes);
        expect(live.optimizer).toBe(estimate.optimizerBytes);
        expect(live.gradients).toBe(0);
        // Of the run's last step, which is like the estimated one where it is not run from a recording yet.
        if (peakBytes === estimate.peakBytes) {
          expect(atPeak).toEqual(estimate.atPeak);
          expect(activationBytes).toBe(estimate.activationBytes);
        } else {
          expect(peakBytes).toBeLessThan(estimate.peakBytes);
        }
        expect(trainer.model.parameterCount()).toBe(estimate.parameters);
        trainer.dispose();
      }),
      { numRuns: 25 },
    );
  });

  test("is the peak of a resumed run, and evaluations and samples between steps do not count", async () => {
    const given: Changes = { train: { evalEvery: 1, sampleEvery: 1, steps: 3 } };
    const trainer = smallTrainer(given);
    await trainer.run();
    expect(trainer.peakBytes).toBe(estimateStep(smallConfig(given), backend).peakBytes);
  });

  test("adds up", () => {
    fc.assert(
      fc.property(changes, (given) => {
        const { atPeak, peakBytes, activationBytes, parameterBytes, gradientBytes } = estimateStep(
          smallConfig(given),
          backend,
        );
        expect(Object.values(atPeak).reduce((a, b) => a + b)).toBe(peakBytes);
        expect(activationBytes).toBe(peakBytes - atPeak.parameters - atPeak.gradients - atPeak.optimizer);
        // Buffers of the streams' health are parameters to the ledger.
        expect(gradientBytes).toBeLessThanOrEqual(parameterBytes);
      }),
      { numRuns: 15 },
    );
  });

  test("computes nothing and leaves the engine of the run alone", () => {
    const engine = new Engine(backend);
    estimateStep(smallConfig(), engine.backend);
    expect(engine.memory().liveBuffers).toBe(0);
    // A model whose one step would take an hour.
    const start = performance.now();
    estimateStep(
      smallConfig({ model: { dModel: 1024, numLayers: 8, maxSeqLen: 1024 }, train: { sequenceLength: 1024 } }),
      backend,
    );
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  test("grows with depth in mode store, by one pair of streams a layer in mode checkpoint, and not at all in modes exact and float", () => {
    const model = { dModel: 32, maxSeqLen: 64 };
    // Much longer batches than parameters, so that the peak lies in the backward pass.
    const train = { sequenceLength: 64, batchSize: 32 };
    const activations = (numLayers: number): Record<string, number> =>
      Object.fromEntries(
        estimateModes(smallConfig({ model: { ...model, numLayers }, train }), backend).map((e) => [
          e.reversibility,
          e.activationBytes,
        ]),
      );
    const [at8, at16, at32] = [activations(8), activations(16), activations(32)] as const;
    // Not always equal: with more gradients the highest instant may be a later one, of fewer activations.
    for (const mode of ["exact", "float"]) {
      expect(at16[mode]).toBeLessThanOrEqual(at8[mode]!);
      expect(at32[mode]).toBeLessThanOrEqual(at16[mode]!);
    }
    const pair = 2 * (32 * 64 * 32) * 4;
    expect(at32.checkpoint! - at16.checkpoint!).toBe(16 * pair);
    expect(at16.checkpoint! - at8.checkpoint!).toBe(8 * pair);
    expect(at32.store! - at16.store!).toBe(2 * (at16.store! - at8.store!));
    expect(at16.store! - at8.store!).toBeGreaterThan(8 * pair);
  });
});
