import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import type { TrainConfig } from "../src/config.ts";
import { type Changes, smallTrainer, stateOf } from "./smallRun.ts";

// Weights kept in 16 bits beside those in float32: runs with and without are one run.

interface Kept {
  readonly state: unknown;
  readonly parameters: number;
}

async function run(changes: Changes, keepsCastCopies: boolean): Promise<Kept> {
  const trainer = smallTrainer(changes, { engine: new Engine(new CpuBackend(), { keepsCastCopies }) });
  const written = trainer.model.parameters()[0]!;
  trainer.on("step", ({ step }) => {
    // Somebody writes to a parameter in between, as who loads weights does.
    if (step === 3) trainer.engine.scope(() => void trainer.engine.noGrad(() => written.assign(written.mul(0.5))));
  });
  await trainer.run();
  const state = await stateOf(trainer);
  const { parameters } = trainer.engine.memory().live;
  trainer.dispose();
  expect(trainer.engine.memory().liveBytes).toBe(0);
  return { state, parameters };
}

type Run = readonly [TrainConfig["model"]["reversibility"], TrainConfig["optimizer"]["name"], "bf16" | "f16", boolean];
const all: readonly Run[] = [
  ["exact", "adamw", "bf16", true],
  ["exact", "sgd", "bf16", true],
  ["exact", "lion", "f16", false],
  ["store", "adafactor", "bf16", false],
  ["checkpoint", "adamw", "f16", true],
];

test.for(all)("mode %s, %s, in %s, whole steps recorded: %s", async ([reversibility, name, precision, graph]) => {
  const changes: Changes = {
    model: { reversibility, dropout: 0.1 },
    optimizer: { name, learningRate: 0.01 },
    train: { precision, graph, microBatches: 2 },
  };
  const [kept, cast] = await Promise.all([run(changes, true), run(changes, false)]);
  expect(kept.state).toEqual(cast.state);
  expect(kept.parameters).toBeGreaterThan(cast.parameters);
});
