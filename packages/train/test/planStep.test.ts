import { CpuBackend } from "@revnet-zero/backend-cpu";
import { HostOffload, HostStore, offloadTo } from "@revnet-zero/reversible";
import { type Backend, Engine } from "@revnet-zero/tensor";
import { errorText, withLateCopies } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { buildStep, estimateStep, planStep } from "../src/index.ts";
import { smallConfig, smallTrainer } from "./smallRun.ts";

const backend = new CpuBackend();
const given = {
  model: { numLayers: 4, dModel: 16, maxSeqLen: 32 },
  train: { steps: 3, batchSize: 8, sequenceLength: 32 },
} as const;
const config = smallConfig(given);
const peakOf = (policy: "store" | "reconstruct"): number =>
  estimateStep(config, backend, { plan: { blocks: new Array(4).fill(policy) } }).peakBytes;

describe("a planned step", () => {
  test("needs the bytes that it is said to, within the budget, and gives the bits of a run without a plan", async () => {
    const [least, most] = [peakOf("reconstruct"), peakOf("store")];
    expect(most).toBeGreaterThan(1.2 * least);
    for (const share of [0, 0.5, 1]) {
      const budgetBytes = Math.round(least + share * (most - least));
      const { plan, peakBytes, front, layers } = planStep(config, backend, { budgetBytes });
      expect(peakBytes).toBeLessThanOrEqual(budgetBytes);
      expect(layers.map(({ policy }) => policy)).toEqual(plan.blocks);
      for (const [i, p] of front.entries())
        if (i > 0) {
          expect(p.peakBytes).toBeGreaterThan(front[i - 1]!.peakBytes);
          expect(p.timeMs).toBeLessThan(front[i - 1]!.timeMs);
        }
      const [planned, plain] = [smallTrainer(given), smallTrainer(given)];
      planned.model.sequence.plan = plan;
      await planned.run();
      await plain.run();
      expect(planned.peakBytes).toBe(peakBytes);
      expect(planned.history).toEqual(plain.history);
      planned.dispose();
      plain.dispose();
    }
  });

  test("leaves nothing behind, and offloads only where it may", () => {
    const engine = new Engine(backend);
    const before = engine.memory().liveBuffers;
    const store = new HostStore();
    const { problem } = planStep(config, backend, { offload: offloadTo(store) });
    expect(problem.items.some(({ choices }) => choices.some(({ policy }) => policy === "offload"))).toBe(true);
    expect(store.heldBytes).toBe(0);
    const without = planStep(config, backend).problem;
    expect(without.items.some(({ choices }) => choices.some(({ policy }) => policy === "offload"))).toBe(false);
    expect(engine.memory().liveBuffers).toBe(before);
  });

  test("may be offloaded, also from a trainer that records its steps", async () => {
    const [offloaded, plain] = [smallTrainer(given), smallTrainer(given)];
    const plan = { blocks: ["offload", "swap", "reconstruct", "offload"] } as const;
    const store = new HostStore();
    offloaded.model.sequence.plan = plan;
    offloaded.model.sequence.offload = offloadTo(store);
    await offloaded.run();
    await plain.run();
    expect(offloaded.history).toEqual(plain.history);
    expect(offloaded.peakBytes).toBe(estimateStep(config, backend, { plan }).peakBytes);
    expect(store.heldBytes).toBe(0);
    offloaded.dispose();
    plain.dispose();
  });

  test("is offloaded beside the computation by recorded steps as by called ones", async () => {
    const plan = { blocks: ["offload", "swap", "reconstruct", "offload"] } as const;
    const made = [true, false].map((isRecorded) => {
      const device = withLateCopies(new CpuBackend() as Backend);
      const trainer = smallTrainer(given, { engine: new Engine(device), isRecorded });
      trainer.model.sequence.plan = plan;
      trainer.model.sequence.offload = new HostOffload({ inFlightBytes: 2000 });
      return { device, trainer };
    });
    for (const { trainer } of made) await trainer.run();
    const [recorded, called] = made as [(typeof made)[0], (typeof made)[0]];
    expect(recorded.trainer.history).toEqual(called.trainer.history);
    expect(recorded.trainer.peakBytes).toBe(called.trainer.peakBytes);
    expect([recorded.device, called.device].map(({ copying }) => copying.count)).toEqual([0, 0]);
    for (const { trainer } of made) trainer.dispose();
  });

  test("is refused where nothing fits, and in modes without plans", () => {
    expect(
      errorText(() => planStep(config, backend, { budgetBytes: 1000 })).replace(/\d{4,}/g, "N"),
    ).toMatchInlineSnapshot(`
      "OutOfMemoryError: plan: no plan fits into N bytes: the smallest peak that was found is N bytes
        hint: a smaller train.batchSize or train.sequenceLength needs less; \`revnet-zero estimate\` tells how much"
    `);
    const stored = smallConfig({ ...given, model: { ...given.model, reversibility: "store" } });
    expect(errorText(() => planStep(stored, backend))).toMatchInlineSnapshot(`
      "ValueError: plan: model.reversibility is store, which says by itself what is done with every layer
        hint: plan with --model.reversibility exact, which any plan gives the same bits as store"
    `);
  });

  test("is the trainer's own: gradients, then update", () => {
    const engine = new Engine(backend);
    const { model, optimizer, gradients, step } = buildStep(config, engine);
    engine.scope(gradients);
    expect(model.parameters().every((p) => p.grad !== undefined)).toBe(true);
    model.zeroGrad();
    engine.scope(step);
    expect(model.parameters().every((p) => p.grad === undefined)).toBe(true);
    expect(engine.ledger.liveBytesOf("optimizer")).toBeGreaterThan(0);
    optimizer.dispose();
    model.dispose();
  });
});
